"""GitHub's REST API, as a job of GitHub Actions reaches it with its own token.

Every request may be repeated by its caller. The token appears in no error message.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from relight.bounded import GZIP, AnswerRefusedError, read_bounded
from relight.domain.error_words import error_words
from relight.domain.text import visible_head

TIMEOUT: Final = timedelta(seconds=30)
"""Without a byte."""

DEADLINE: Final = timedelta(minutes=2)
"""For a whole answer."""

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
ATTEMPTS: Final = 4
PAUSE: Final = timedelta(seconds=2)
"""Before the second attempt; doubled before each further one."""

PAGE: Final = 100
"""The most items of an answer."""

_MAX_WAIT: Final = timedelta(seconds=60)
_WORKFLOW = re.compile(r".*/\.github/workflows/([^/@]+)@.*")

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


@dataclass(frozen=True)
class GitHubJob:
    """A job of GitHub Actions.

    Attributes:
        api_url: of the REST API.
        repository: `OWNER/NAME`.
        token: of the job.
    """

    api_url: str
    repository: str
    token: SecretStr


class GitHubRepository:
    """The API of one repository."""

    def __init__(self, client: httpx.AsyncClient, job: GitHubJob) -> None:
        self._client = client
        self._url = f"{job.api_url.rstrip('/')}/repos/{job.repository}"
        self._token = job.token

    async def asked(
        self,
        kind: TypeAdapter[T],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
    ) -> T | None:
        """Return the answer to a request; None if there is nothing at the path.

        Raises:
            GitHubRefusedError: it was refused, or the answer is none of GitHub's API.
            GitHubUnavailableError: no answer, a server error, or a rate limit.
        """
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
        if answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
            return None
        _check(answer, f"{method} {path}", content)
        try:
            return kind.validate_json(content)
        except ValidationError as error:
            raise GitHubRefusedError(f"{path}: this is no answer of GitHub's API") from error


@asynccontextmanager
async def repository_of(job: GitHubJob) -> AsyncIterator[GitHubRepository]:
    """Yield the API of the job's repository."""
    async with httpx.AsyncClient(timeout=TIMEOUT.total_seconds()) as client:
        yield GitHubRepository(client, job)


async def patiently(do: Callable[[], Awaitable[T]], pause: timedelta = PAUSE) -> T:
    """Return what `do` returns, which is called again while GitHub is not available.

    Raises:
        GitHubUnavailableError: it was not in `ATTEMPTS` attempts.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return await do()
        except GitHubUnavailableError as error:
            wait = pause * 2**attempt if error.wait is None else error.wait
            await asyncio.sleep(min(wait, _MAX_WAIT).total_seconds())
    return await do()


class _Run(BaseModel):
    head_sha: str


class _Runs(BaseModel):
    workflow_runs: list[_Run]


_RUNS: TypeAdapter[_Runs] = TypeAdapter(_Runs)


async def last_success(
    job: GitHubJob, workflow_ref: str, branch: str, pause: timedelta = PAUSE
) -> str | None:
    """Return the commit of a workflow's newest run that succeeded on a branch; None without one.

    Args:
        job: whose token has `actions: read`.
        workflow_ref: GitHub's `GITHUB_WORKFLOW_REF`.
        branch: its name.
        pause: as of `patiently`.

    Raises:
        GitHubRefusedError: it was refused, or the workflow is not known.
        GitHubUnavailableError: as `patiently`.
    """
    named = _WORKFLOW.fullmatch(workflow_ref)
    if named is None:
        raise GitHubRefusedError(f"GITHUB_WORKFLOW_REF names no workflow: {workflow_ref!r}")
    path = (
        f"/actions/workflows/{quote(named[1], safe='')}/runs"
        f"?branch={quote(branch, safe='')}&status=success&per_page=1"
    )
    async with repository_of(job) as repository:
        runs = await patiently(lambda: repository.asked(_RUNS, "GET", path), pause)
    if runs is None:
        raise GitHubRefusedError(f"GET {path}: 404. The job needs `permissions: actions: read`.")
    return runs.workflow_runs[0].head_sha if runs.workflow_runs else None


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
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        yield "The job needs its token in GITHUB_TOKEN, and the right in its `permissions`."
