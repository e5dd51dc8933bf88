"""One issue on GitHub about a workflow that fails: opened on failure, closed on success.

The issue is the open one that has our label and our mark in its body. Every request may be
repeated: what is there is read first.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, JsonValue, SecretStr, TypeAdapter, ValidationError

from relight.bounded import GZIP, AnswerRefusedError, read_bounded
from relight.domain.base import Message
from relight.domain.ci_run import EndedJob, RunOutcome, outcome_of
from relight.domain.error_words import error_words
from relight.domain.text import plain, visible_head

LABEL: Final = "relight-image"
MARK: Final = "<!-- relight image issue -->"
TITLE: Final = "The base image was not published"

TIMEOUT: Final = timedelta(seconds=30)
"""Without a byte."""

DEADLINE: Final = timedelta(minutes=2)
"""For a whole answer."""

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
ATTEMPTS: Final = 4

_PAGE, _MAX_PAGES = 100, 50
_MAX_WAIT: Final = timedelta(seconds=60)
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)

T = TypeVar("T")


class GitHubRefusedError(Exception):
    """GitHub refused a request; another attempt would be refused as well."""


class GitHubUnavailableError(Exception):
    """GitHub gave no answer, or asks to wait.

    Attributes:
        wait: how long GitHub asks to wait; None: it does not say.
    """

    def __init__(self, text: str, wait: timedelta | None = None) -> None:
        super().__init__(text)
        self.wait = wait


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
class Run:
    """A run of a workflow.

    Attributes:
        repository: `OWNER/NAME`.
        url: of the run and its attempt.
        needs: the jobs that have ended, by name.
    """

    repository: str
    url: str
    needs: Mapping[str, EndedJob]


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


_ISSUE: TypeAdapter[_Issue] = TypeAdapter(_Issue)
_ISSUES: TypeAdapter[list[_Issue]] = TypeAdapter(list[_Issue])
_TEXTS: TypeAdapter[list[_Text]] = TypeAdapter(list[_Text])


async def report_run(
    run: Run, url: str, token: SecretStr, pause: timedelta = timedelta(seconds=2)
) -> IssueReported:
    """Open, continue or close the issue, as the run's outcome has it.

    Args:
        run: the run that has ended.
        url: of GitHub's REST API.
        token: of the job; it needs `issues: write`.
        pause: before the second attempt; doubled before each further one.

    Raises:
        GitHubRefusedError: GitHub refused.
        GitHubUnavailableError: it gave no usable answer in `ATTEMPTS` attempts.
    """
    async with httpx.AsyncClient(timeout=TIMEOUT.total_seconds()) as client:
        issues = _Issues(client, f"{url.rstrip('/')}/repos/{run.repository}", token)
        for attempt in range(ATTEMPTS - 1):
            try:
                return await _report(issues, run)
            except GitHubUnavailableError as error:
                wait = pause * 2**attempt if error.wait is None else error.wait
                await asyncio.sleep(min(wait, _MAX_WAIT).total_seconds())
        return await _report(issues, run)


async def _report(issues: "_Issues", run: Run) -> IssueReported:
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
    is_written = run.url in (oldest.body or "") or await issues.has_comment(oldest.number, run.url)
    if not is_written:
        await issues.comment(oldest.number, f"It failed again: {run.url}\n\n{jobs_of(run)}")
    change = IssueChange.NONE if is_written else IssueChange.COMMENTED
    return IssueReported(outcome=outcome, change=change, issues=(oldest.number,))


def body_of(run: Run) -> str:
    """Return the text of a new issue, in Markdown."""
    return (
        f"A run did not publish the base image: {run.url}\n\n"
        f"{jobs_of(run)}\n\n"
        "The summary of the run says which regions have the image, which not and why. Machines are "
        "made from the newest image that their region has.\n\n"
        "The next failure is a comment here. The next run that publishes closes this issue.\n\n"
        f"{MARK}\n"
    )


def jobs_of(run: Run) -> str:
    """Return a table of the run's jobs, in Markdown."""
    rows = (f"| {plain(name)} | {job.result} |" for name, job in run.needs.items())
    return "\n".join(("| job | result |", "| --- | --- |", *rows))


class _Issues:
    """The issues of one repository."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: SecretStr) -> None:
        self._client = client
        self._url = url
        self._token = token

    async def ours(self) -> list[_Issue]:
        """Return the open issues that are ours.

        Raises:
            GitHubRefusedError: there are more than are read, so it is not known.
        """
        found: list[_Issue] = []
        for page in range(1, _MAX_PAGES + 1):
            path = f"/issues?state=open&labels={LABEL}&per_page={_PAGE}&page={page}"
            listed = _of(_ISSUES, await self._asked("GET", path), path)
            found += [issue for issue in listed if issue.is_ours]
            if len(listed) < _PAGE:
                return found
        text = f"more than {_MAX_PAGES * _PAGE} open issues have the label {LABEL}"
        raise GitHubRefusedError(text)

    async def open(self, title: str, body: str) -> int:
        """Open an issue and return its number.

        Raises:
            GitHubRefusedError: also if it has no label: the next run would not find it.
        """
        wanted = {"title": title, "body": body, "labels": [LABEL]}
        made = _of(_ISSUE, await self._asked("POST", "/issues", wanted), "/issues")
        if not made.has_label:  # GitHub leaves out what the token may not set.
            path = f"/issues/{made.number}/labels"
            await self._asked("POST", path, {"labels": [LABEL]})
        return made.number

    async def has_comment(self, number: int, text: str) -> bool:
        """Whether a comment of an issue has a text."""
        for page in range(1, _MAX_PAGES + 1):
            path = f"/issues/{number}/comments?per_page={_PAGE}&page={page}"
            listed = _of(_TEXTS, await self._asked("GET", path), path)
            if any(text in (each.body or "") for each in listed):
                return True
            if len(listed) < _PAGE:
                break
        return False

    async def comment(self, number: int, body: str) -> None:
        """Add a comment."""
        await self._asked("POST", f"/issues/{number}/comments", {"body": body})

    async def close(self, number: int, body: str) -> None:
        """Close an issue, with a last comment; one that is gone is closed."""
        closed = {"state": "closed", "state_reason": "completed"}
        if await self._asked("PATCH", f"/issues/{number}", closed, may_be_gone=True) is not None:
            await self.comment(number, body)

    async def _asked(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        may_be_gone: bool = False,
    ) -> JsonValue:
        """Return the JSON of an answer; None for 404 and 410 if the issue may be gone."""
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token.get_secret_value()}",
            "User-Agent": "relight",  # GitHub refuses requests without one
            "X-GitHub-Api-Version": "2022-11-28",
            **GZIP,
        }
        try:
            async with (
                asyncio.timeout(DEADLINE.total_seconds()),
                self._client.stream(
                    method, f"{self._url}{path}", headers=headers, json=body
                ) as answer,
            ):
                content = await read_bounded(answer, MAX_ANSWER_BYTES)
        except AnswerRefusedError as error:
            raise GitHubRefusedError(f"{method} {path}: {error}") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise GitHubRefusedError(f"{self._url}: {error_words(error)}") from error
        except (httpx.HTTPError, TimeoutError) as error:
            text = f"{method} {self._url}{path}: {error_words(error)}"
            raise GitHubUnavailableError(text) from error
        if may_be_gone and answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
            return None
        _check(answer, f"{method} {path}", content)
        return _of(_JSON, content, path)


def _check(answer: httpx.Response, request: str, content: bytes) -> None:
    """Raise the error of an answer that is no success."""
    if answer.is_success:
        return
    status = answer.status_code
    said = visible_head(content.decode(errors="replace"), 500)
    text = f"{request}: {status} {answer.reason_phrase}: {said}"
    wait = answer.headers.get("Retry-After", "")
    seconds = int(wait[:6]) if wait.isascii() and wait.isdecimal() else None
    is_limited = seconds is not None or answer.headers.get("X-RateLimit-Remaining") == "0"
    if (
        answer.is_server_error
        or status == httpx.codes.TOO_MANY_REQUESTS
        or (status == httpx.codes.FORBIDDEN and is_limited)
    ):
        raise GitHubUnavailableError(text, None if seconds is None else timedelta(seconds=seconds))
    raise GitHubRefusedError("\n".join((text, *_advice(status))))


def _advice(status: int) -> Iterator[str]:
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND}:
        yield "The job needs `permissions: issues: write`, and its token in GITHUB_TOKEN."
    if status == httpx.codes.GONE:
        yield "The repository has no issues: enable them in its settings."


def _of(kind: TypeAdapter[T], content: JsonValue | bytes, path: str) -> T:
    """Return an answer as a type.

    Raises:
        GitHubRefusedError: it is another one.
    """
    try:
        if isinstance(content, bytes):
            return kind.validate_json(content)
        return kind.validate_python(content)
    except ValidationError as error:
        raise GitHubRefusedError(f"{path}: this is no answer of GitHub's API") from error
