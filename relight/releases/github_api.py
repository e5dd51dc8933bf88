"""Requests to GitHub's REST API about the releases of one repository.

An answer is reused for a minute, and then requested again with its ETag: a rollout requests the
same for each route, and GitHub limits requests without a token to a few per hour. The token is
sent to the API only and appears in no error message.

Raises `RepositoryUnavailableError` if a retry may help, else `RepositoryError`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from pydantic import JsonValue, SecretStr, TypeAdapter, ValidationError

from relight.bounded import GZIP, AnswerRefusedError, read_bounded
from relight.domain.error_words import error_words
from relight.domain.text import all_visible
from relight.releases.errors import RepositoryError, RepositoryUnavailableError
from relight.releases.fetching import DEADLINE, within
from relight.shared_reads import SharedReads

CACHE_TIME = timedelta(minutes=1)

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Larger than a page of a hundred releases with all their files."""

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_GONE = (httpx.codes.NOT_FOUND, httpx.codes.GONE)


@dataclass(frozen=True)
class _CachedResponse:
    received_at: float
    etag: str
    content: JsonValue


class GitHubApi:
    """Caches the answers. Concurrent requests of one path are one request, with a deadline."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        token: SecretStr | None,
        cache_time: timedelta = CACHE_TIME,
        deadline: timedelta = DEADLINE,
    ) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._token = token
        self._cache_seconds = cache_time.total_seconds()
        self._cache: dict[str, _CachedResponse] = {}
        self._deadline = deadline
        self._reads: SharedReads[JsonValue] = SharedReads()

    async def get(self, path: str) -> JsonValue:
        """Return the JSON at a path of the API; None if there is nothing.

        Raises:
            RepositoryUnavailableError: no answer, a server error, or a rate limit.
            RepositoryError: this is not GitHub's API, or access is denied.
        """
        cached = self._cache.get(path)
        if cached is not None and time.monotonic() - cached.received_at < self._cache_seconds:
            return cached.content
        return await self._reads.get(path, lambda: self._read(path))

    async def close(self) -> None:
        """Cancel all running requests."""
        await self._reads.close()

    async def _read(self, path: str) -> JsonValue:
        cached = self._cache.get(path)
        async with within(self._deadline):
            answer, body = await self._request(path, cached.etag if cached else "")
        if answer.status_code == httpx.codes.NOT_MODIFIED and cached is not None:
            content = cached.content
        elif answer.status_code in _GONE:
            self._cache.pop(path, None)
            return None
        else:
            _check(answer, path)
            content = _parsed(body, path)
        etag = answer.headers.get("ETag", cached.etag if cached else "")
        self._cache[path] = _CachedResponse(time.monotonic(), etag, content)
        return content

    async def _request(self, path: str, etag: str) -> tuple[httpx.Response, bytes]:
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "relight",  # GitHub refuses requests without one
            **GZIP,
        }
        if etag:
            headers["If-None-Match"] = etag
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        try:
            # On a redirect to another host httpx does not send the token.
            async with self._client.stream(
                "GET", f"{self._url}{path}", headers=headers, follow_redirects=True
            ) as answer:
                body = await read_bounded(answer, MAX_ANSWER_BYTES)
        except AnswerRefusedError as error:
            raise RepositoryError(f"{path}: {error}") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise RepositoryError(f"the request to {self._url} failed: {error}") from error
        except httpx.HTTPError as error:
            text = f"{self._url}{path}: {error_words(error)}"
            raise RepositoryUnavailableError(text) from error
        return answer, body


def _check(answer: httpx.Response, path: str) -> None:
    """Raise the error of a status other than 200."""
    status = answer.status_code
    if status == httpx.codes.OK:
        return
    text = f"{path}: {status} {answer.reason_phrase}"
    until = _rate_limit(answer.headers)
    if status == httpx.codes.TOO_MANY_REQUESTS or (status == httpx.codes.FORBIDDEN and until):
        raise RepositoryUnavailableError(
            f"{text}: rate limit exceeded{until and f', {until}'}; a token in "
            "RELIGHT_GITHUB__TOKEN_FILE raises the limit"
        )
    if answer.is_server_error:
        raise RepositoryUnavailableError(text)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise RepositoryError(f"{text}: check the token in RELIGHT_GITHUB__TOKEN_FILE")
    raise RepositoryError(text)


def _rate_limit(headers: Mapping[str, str]) -> str:
    """Return in words when GitHub's rate limit ends; empty if the headers name no limit."""
    if after := headers.get("Retry-After"):
        return f"retry after {after} s"
    if headers.get("X-RateLimit-Remaining") != "0":
        return ""
    reset = headers.get("X-RateLimit-Reset", "")
    if not reset.isascii() or not reset.isdecimal():
        return "until it is renewed"
    moment = datetime.fromtimestamp(int(reset[:10]), UTC)
    return f"retry at {moment:%H:%M:%S} UTC"


def _parsed(body: bytes, path: str) -> JsonValue:
    try:
        content: JsonValue = all_visible(_JSON.validate_json(body))
    except ValidationError as error:
        raise RepositoryError(f"{path}: the answer is not JSON") from error
    return content
