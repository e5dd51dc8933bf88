"""Questions to GitHub's REST API about one repository's releases.

An answer is used again for a minute, and then asked for by its ETag: a rollout asks the same for
each of its routes, and GitHub answers few questions an hour to those without a token. The token
goes to the API alone and is in no error's text.

Raises `RepositoryUnavailableError` where waiting helps, else `RepositoryError`.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from pydantic import JsonValue, SecretStr, TypeAdapter, ValidationError

from relight.releases.errors import RepositoryError, RepositoryUnavailableError

FRESH = timedelta(minutes=1)

LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
"""More than a hundred releases with all their files."""

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_GONE = (httpx.codes.NOT_FOUND, httpx.codes.GONE)


@dataclass(frozen=True)
class _Answer:
    at: float
    etag: str
    content: JsonValue


class GitHubApi:
    """Asks one question at a time, and remembers what came."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        token: SecretStr | None,
        fresh: timedelta = FRESH,
    ) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._token = token
        self._fresh = fresh.total_seconds()
        self._known: dict[str, _Answer] = {}
        self._turn = asyncio.Lock()

    async def get(self, path: str) -> JsonValue:
        """Return what lies at a path of the API; None where it has nothing there.

        Raises:
            RepositoryUnavailableError: no answer, a fault of GitHub's own, or too many questions.
            RepositoryError: this is no such API, or it does not let us ask.
        """
        async with self._turn:
            known = self._known.get(path)
            if known is not None and time.monotonic() - known.at < self._fresh:
                return known.content
            answer, body = await self._ask(path, known.etag if known else "")
            if answer.status_code == httpx.codes.NOT_MODIFIED and known is not None:
                content = known.content
            elif answer.status_code in _GONE:
                self._known.pop(path, None)
                return None
            else:
                _check(answer, path)
                content = _parsed(body, path)
            etag = answer.headers.get("ETag", known.etag if known else "")
            self._known[path] = _Answer(time.monotonic(), etag, content)
            return content

    async def _ask(self, path: str, etag: str) -> tuple[httpx.Response, bytes]:
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "relight",  # GitHub refuses to answer those who do not say
        }
        if etag:
            headers["If-None-Match"] = etag
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        body = bytearray()
        try:
            # httpx takes the token along to no other host.
            async with self._client.stream(
                "GET", f"{self._url}{path}", headers=headers, follow_redirects=True
            ) as answer:
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST_ANSWER_BYTES:
                        raise RepositoryError(f"{path}: what it answers is far too long")
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise RepositoryError(f"{self._url} cannot be asked: {error}") from error
        except httpx.HTTPError as error:
            text = str(error) or type(error).__name__
            raise RepositoryUnavailableError(f"{self._url}{path}: {text}") from error
        return answer, bytes(body)


def _check(answer: httpx.Response, path: str) -> None:
    """Raise what another status than 200 stands for."""
    status = answer.status_code
    if status == httpx.codes.OK:
        return
    text = f"{path}: {status} {answer.reason_phrase}"
    until = _limited_until(answer.headers)
    if status == httpx.codes.TOO_MANY_REQUESTS or (status == httpx.codes.FORBIDDEN and until):
        raise RepositoryUnavailableError(
            f"{text}: too many questions, {until or 'until it says so'}; a token in "
            "RELIGHT_GITHUB__TOKEN_FILE may ask more"
        )
    if answer.is_server_error:
        raise RepositoryUnavailableError(text)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise RepositoryError(f"{text}: see the token in RELIGHT_GITHUB__TOKEN_FILE")
    raise RepositoryError(text)


def _limited_until(headers: Mapping[str, str]) -> str:
    """Say how long GitHub wants no more questions; nothing where it does not say so."""
    if after := headers.get("Retry-After"):
        return f"again after {after} s"
    if headers.get("X-RateLimit-Remaining") != "0":
        return ""
    reset = headers.get("X-RateLimit-Reset", "")
    if not reset.isascii() or not reset.isdecimal():
        return "until its limit is renewed"
    moment = datetime.fromtimestamp(int(reset[:10]), UTC)
    return f"again at {moment:%H:%M:%S} UTC"


def _parsed(body: bytes, path: str) -> JsonValue:
    try:
        return _JSON.validate_json(body)
    except ValidationError as error:
        raise RepositoryError(f"{path}: what it answers is no JSON") from error
