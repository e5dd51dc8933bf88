"""One issue on GitHub about a workflow that fails: opened on failure, closed on success.

The issue is the open one that has our label and our mark in its body. Every request may be
repeated: what is there is read first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, JsonValue, TypeAdapter

from relight.domain.base import Message
from relight.domain.ci_run import EndedJob, RunOutcome, outcome_of
from relight.domain.text import plain
from relight.github_actions import (
    PAGE,
    PAUSE,
    GitHubJob,
    GitHubRefusedError,
    GitHubRepository,
    patiently,
    repository_of,
)

LABEL: Final = "relight-image"
MARK: Final = "<!-- relight-image -->"
TITLE: Final = "The base image was not published"

_MAX_PAGES = 50
_NO_ISSUES = (
    "there are no issues here: enable them in the repository's settings, and give the job "
    "`permissions: issues: write`"
)


class IssueChange(StrEnum):
    """What was done to the issue. `none`: nothing had to be done."""

    OPENED = "opened"
    COMMENTED = "commented"
    CLOSED = "closed"
    NONE = "none"


class IssueReported(Message):
    """The issue after a run.

    Attributes:
        outcome: of the run.
        change: what was done.
        issues: the numbers of the issues that it was done to; of the open one for a failure.
    """

    outcome: RunOutcome
    change: IssueChange
    issues: tuple[int, ...] = ()


@dataclass(frozen=True)
class EndedRun:
    """A run of a workflow.

    Attributes:
        url: of the run and its attempt.
        needs: the jobs that have ended, by name.
    """

    url: str
    needs: Mapping[str, EndedJob]

    def is_in(self, text: str | None) -> bool:
        """Whether a text names it. The URL ends with a number, whose digits may go on."""
        return re.search(rf"{re.escape(self.url)}(?!\d)", text or "") is not None


class _Named(BaseModel):
    name: str


class _Text(BaseModel):
    body: str | None = None


class _Issue(_Text):
    number: int
    labels: list[_Named | str] = []
    pull_request: JsonValue = None

    @property
    def is_ours(self) -> bool:
        """Whether it is the issue of a workflow: GitHub lists pull requests as issues."""
        return self.pull_request is None and MARK in (self.body or "")

    @property
    def has_label(self) -> bool:
        names = {each if isinstance(each, str) else each.name for each in self.labels}
        return LABEL in names


_ANY: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_ISSUE: TypeAdapter[_Issue] = TypeAdapter(_Issue)
_ISSUES: TypeAdapter[list[_Issue]] = TypeAdapter(list[_Issue])
_TEXTS: TypeAdapter[list[_Text]] = TypeAdapter(list[_Text])


async def report_run(job: GitHubJob, run: EndedRun, pause: timedelta = PAUSE) -> IssueReported:
    """Open, continue or close the issue, as the run's outcome has it.

    Args:
        job: whose token has `issues: write`.
        run: the run that has ended.
        pause: as of `patiently`.

    Raises:
        GitHubRefusedError: GitHub refused.
        GitHubUnavailableError: as `patiently`.
    """
    async with repository_of(job) as repository:
        return await patiently(lambda: _report(_Issues(repository), run), pause)


async def _report(issues: "_Issues", run: EndedRun) -> IssueReported:
    outcome = outcome_of(run.needs)
    if outcome is RunOutcome.NOTHING:
        return IssueReported(outcome=outcome, change=IssueChange.NONE)
    found = sorted(await issues.ours(), key=lambda issue: issue.number)
    if outcome is RunOutcome.SUCCEEDED:
        for issue in found:
            await issues.close(issue.number, f"Published by {run.url}.")
        change = IssueChange.CLOSED if found else IssueChange.NONE
        numbers = tuple(issue.number for issue in found)
        return IssueReported(outcome=outcome, change=change, issues=numbers)
    if not found:
        number = await issues.open(TITLE, body_of(run))
        return IssueReported(outcome=outcome, change=IssueChange.OPENED, issues=(number,))
    oldest = found[0]
    # An attempt whose answer was lost has written it already.
    is_written = run.is_in(oldest.body) or await issues.has_comment(oldest.number, run)
    if not is_written:
        await issues.comment(oldest.number, f"It failed again: {run.url}\n\n{jobs_of(run)}")
    change = IssueChange.NONE if is_written else IssueChange.COMMENTED
    return IssueReported(outcome=outcome, change=change, issues=(oldest.number,))


def body_of(run: EndedRun) -> str:
    """Return the text of a new issue, in Markdown."""
    return (
        f"A run did not publish the base image: {run.url}\n\n"
        f"{jobs_of(run)}\n\n"
        "The summary of the run says which regions have the image, which not and why. Machines are "
        "made from the newest image that their region has.\n\n"
        "The next failure is a comment here. The next run that publishes closes this issue.\n\n"
        f"{MARK}\n"
    )


def jobs_of(run: EndedRun) -> str:
    """Return a table of the run's jobs, in Markdown."""
    rows = (f"| {plain(name)} | {job.result} |" for name, job in run.needs.items())
    return "\n".join(("| job | result |", "| --- | --- |", *rows))


class _Issues:
    """The issues of one repository."""

    def __init__(self, repository: GitHubRepository) -> None:
        self._repository = repository

    async def ours(self) -> list[_Issue]:
        """Return the open issues that are ours.

        Raises:
            GitHubRefusedError: there are more than are read, so it is not known; or the repository
                has no issues.
        """
        found: list[_Issue] = []
        for page in range(1, _MAX_PAGES + 1):
            path = f"/issues?state=open&labels={LABEL}&per_page={PAGE}&page={page}"
            listed = await self._repository.asked(_ISSUES, "GET", path)
            if listed is None:
                raise GitHubRefusedError(_NO_ISSUES)
            found += [issue for issue in listed if issue.is_ours]
            if len(listed) < PAGE:
                return found
        text = f"more than {_MAX_PAGES * PAGE} open issues have the label {LABEL}"
        raise GitHubRefusedError(text)

    async def open(self, title: str, body: str) -> int:
        """Open an issue with our label and return its number: by the label it is found."""
        wanted = {"title": title, "body": body, "labels": [LABEL]}
        made = await self._repository.asked(_ISSUE, "POST", "/issues", wanted)
        if made is None:
            raise GitHubRefusedError(_NO_ISSUES)
        if not made.has_label:  # GitHub leaves out what the token may not set.
            path = f"/issues/{made.number}/labels"
            await self._repository.asked(_ANY, "POST", path, {"labels": [LABEL]})
        return made.number

    async def has_comment(self, number: int, run: EndedRun) -> bool:
        """Whether a comment of an issue names a run."""
        for page in range(1, _MAX_PAGES + 1):
            path = f"/issues/{number}/comments?per_page={PAGE}&page={page}"
            listed = await self._repository.asked(_TEXTS, "GET", path) or []
            if any(run.is_in(each.body) for each in listed):
                return True
            if len(listed) < PAGE:
                break
        return False

    async def comment(self, number: int, body: str) -> None:
        """Add a comment."""
        await self._repository.asked(_ANY, "POST", f"/issues/{number}/comments", {"body": body})

    async def close(self, number: int, body: str) -> None:
        """Close an issue, with a last comment; one that is gone is closed."""
        closed = {"state": "closed", "state_reason": "completed"}
        if await self._repository.asked(_ANY, "PATCH", f"/issues/{number}", closed) is not None:
            await self.comment(number, body)
