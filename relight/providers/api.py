"""Requests to a provider's HTTP API. Nothing that comes back is trusted before it was read.

An answer has a deadline and a limit of bytes, and is parsed as the type that was asked for. All
else (a login page with status 200, JSON of another shape, half an answer) is a
`ProviderAnswerError`: nothing is concluded from it, least of all that a machine is gone.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from relight.bounded import GZIP, AnswerRefusedError, read_bounded
from relight.domain.duration import span
from relight.domain.error_words import error_words
from relight.domain.text import all_visible
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderCredentialsError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""More than a listing of 50,000 machines."""

SHOWN_CHARACTERS = 500

T = TypeVar("T")
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


@dataclass(frozen=True)
class Response:
    """A successful response, still unread."""

    provider: str
    attempted: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode(errors="replace")

    def read(self, adapter: TypeAdapter[T]) -> T:
        """Return the JSON of the body as a type.

        Raises:
            ProviderAnswerError: it is something else.
        """

        def parse() -> T:
            value = _JSON.validate_json(self.body)
            return adapter.validate_json(_JSON.dump_json(all_visible(value)))

        return self.understood(parse)

    def understood(self, read: Callable[[], T]) -> T:
        """Return what a function makes of the response.

        Raises:
            ProviderAnswerError: it raised a validation error.
        """
        try:
            return read()
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise self.unreadable(f"{f'{where}: ' if where else ''}{first['msg']}") from error

    def unreadable(self, why: str) -> ProviderAnswerError:
        """Return the error that this response was not understood."""
        shown = " ".join(self.body[:SHOWN_CHARACTERS].decode(errors="replace").split())
        return ProviderAnswerError(
            self.provider, self.attempted, f"the answer is not understood: {why}: {shown!r}"
        )


class ProviderApi:
    """One provider's API."""

    def __init__(
        self, provider: str, url: str, headers: Mapping[str, str], timeout: timedelta
    ) -> None:
        """Request nothing yet.

        Args:
            provider: the driver's name.
            url: of the API.
            headers: of every request.
            timeout: for a whole answer.
        """
        self._provider = provider
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            base_url=url, headers={**headers, **GZIP}, timeout=timeout.total_seconds()
        )

    async def request(
        self, attempted: str, method: str, path: str, **options: Any
    ) -> Response | None:
        """Return the response to a request; None for a 404 of the API itself.

        Raises:
            ProviderError: the request failed.
            ProviderAnswerError: the answer is too large, or not one of the API.
        """
        status, body = await self._send(attempted, method, path, options)
        response = Response(self._provider, attempted, body)
        if httpx.codes.is_success(status):
            return response
        if status == httpx.codes.NOT_FOUND:
            # Absence is a reason to destroy or to replace: a proxy's page must not mean it.
            response.read(_OBJECT)
            return None
        if httpx.codes.is_client_error(status) or httpx.codes.is_server_error(status):
            text = response.text[:SHOWN_CHARACTERS]
            raise _error_for(status)(self._provider, attempted, f"{status} {text}")
        raise response.unreadable(f"status {status}")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(
        self, attempted: str, method: str, path: str, options: Mapping[str, Any]
    ) -> tuple[int, bytes]:
        try:
            # The timeout of httpx applies to each read only: a slow trickle would never end.
            async with (
                asyncio.timeout(self._timeout.total_seconds()),
                self._http.stream(method, path, **options) as response,
            ):
                body = await read_bounded(response, MAX_ANSWER_BYTES)
        except TimeoutError as error:
            raise ProviderUnavailableError(
                self._provider,
                attempted,
                f"no whole answer within {span(self._timeout)}",
            ) from error
        except AnswerRefusedError as error:
            raise ProviderAnswerError(self._provider, attempted, str(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderUnavailableError(self._provider, attempted, error_words(error)) from error
        return response.status_code, body


def _error_for(status: int) -> type[ProviderError]:
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ProviderRateLimitedError
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return ProviderCredentialsError
    # Conflict: the label was taken after `find`, perhaps by our own request. Search again.
    if status >= 500 or status == httpx.codes.CONFLICT:
        return ProviderUnavailableError
    return ProviderError
