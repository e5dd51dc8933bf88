"""Requests to a provider's HTTP API. Nothing that comes back is trusted before it was read.

An answer has a deadline and a limit of bytes, and is parsed as the type that was asked for. All
else (a login page with status 200, JSON of another shape, half an answer) is a
`ProviderAnswerError`: nothing is concluded from it, least of all that a machine is gone. No request
is repeated here: a creation whose answer was lost may have succeeded.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from relight.bounded import GZIP, AnswerRefusedError, read_bounded
from relight.domain.duration import span
from relight.domain.error_words import error_words
from relight.domain.text import all_visible, visible_head, without_queries
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.rate import Call, RateLimits, TooFastError, retry_after

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""More than a listing of 50,000 machines."""

SHOWN_CHARACTERS = 500

_VALUE = re.compile(r"[\w+/=%-]{129,}", re.ASCII)
"""Longer than any id, name or token. User-data has private keys, and an answer may repeat it."""

T = TypeVar("T")
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


@dataclass(frozen=True)
class Response:
    """A successful response, still unread.

    Attributes:
        headers: of the answer, by name in any case.
    """

    provider: str
    attempted: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=httpx.Headers)

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
        shown = " ".join(_shown(self.text).split())
        return ProviderAnswerError(
            self.provider, self.attempted, f"the answer is not understood: {why}: {shown!r}"
        )


@dataclass(frozen=True)
class Refusal:
    """An answer with an error status: what a driver makes its error of.

    Attributes:
        status: of HTTP, 400 to 599.
        headers: of the answer, by name in any case.
        body: its JSON, every text in it made visible; None if it is none.
        text: the beginning of the answer, without long values.
    """

    provider: str
    attempted: str
    status: int
    headers: Mapping[str, str]
    body: JsonValue | None
    text: str

    @property
    def fields(self) -> Mapping[str, JsonValue]:
        """The body if it is a JSON object; else empty."""
        return self.body if isinstance(self.body, dict) else {}

    def error(self, kind: type[ProviderError], words: str = "") -> ProviderError:
        """Return the error of a kind, with the provider's words.

        Args:
            kind: of the error; a rate limit also gets how long the provider asks to wait.
            words: what the provider says; the beginning of its answer if empty.
        """
        answer = f"{self.status} {visible_head(_shown(words), SHOWN_CHARACTERS) or self.text}"
        if issubclass(kind, ProviderRateLimitedError):
            return kind(self.provider, self.attempted, answer, retry_after(self.headers))
        return kind(self.provider, self.attempted, answer)


Classify = Callable[[Refusal], ProviderError | None]
"""Returns the error that a refusal is; None if it says that the thing asked for does not exist."""


def by_status(refusal: Refusal) -> ProviderError | None:
    """Return the error that follows from the status alone: of an API without words of its own."""
    if refusal.status == httpx.codes.NOT_FOUND:
        return None
    return refusal.error(error_for_status(refusal.status))


def error_for_status(status: int) -> type[ProviderError]:
    """Return the error of a status, where the vendor's code says nothing more."""
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ProviderRateLimitedError
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return ProviderCredentialsError
    # Conflict: the label was taken after `find`, perhaps by our own request. Search again.
    if status >= 500 or status in (httpx.codes.CONFLICT, httpx.codes.REQUEST_TIMEOUT):
        return ProviderUnavailableError
    return ProviderError


_CALLS: Mapping[str, Call] = {"POST": Call.CREATE, "PUT": Call.CREATE, "DELETE": Call.DESTROY}


class ProviderApi:
    """One account at a provider's API."""

    def __init__(  # noqa: PLR0913 - each stands alone, and most have a default
        self,
        provider: str,
        url: str,
        headers: Mapping[str, str],
        timeout: timedelta,
        *,
        auth: httpx.Auth | None = None,
        classify: Classify = by_status,
        limits: RateLimits | None = None,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        """Request nothing yet.

        Args:
            provider: the driver's name.
            url: of the API; a request's path may be a URL of its own.
            headers: of every request.
            timeout: for a whole answer.
            auth: signs each request, or adds what names the caller.
            classify: makes errors of refusals.
            limits: of the account, shared by all APIs that it is used with.
            trusted: whose certificates are accepted; None: those that the system trusts.
        """
        self._provider = provider
        self._timeout = timeout
        self._classify = classify
        self._limits = limits or RateLimits()
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={**headers, **GZIP},
            timeout=timeout.total_seconds(),
            auth=auth,
            verify=trusted or True,
        )

    async def request(
        self,
        attempted: str,
        method: str,
        path: str,
        *,
        call: Call | None = None,
        timeout: timedelta | None = None,
        **options: Any,
    ) -> Response | None:
        """Return the response to a request; None if the API says that there is no such thing.

        Args:
            attempted: the operation, for the words of an error.
            method: of HTTP.
            path: below the API's URL, or a whole URL.
            call: the kind of call, where the method does not tell it.
            timeout: for the whole answer, where it may take longer than others: a body is large.
            options: as of `httpx.AsyncClient.request`.

        Raises:
            ProviderError: the request failed.
            ProviderAnswerError: the answer is too large, or not one of the API.
            ProviderRateLimitedError: the API asks to wait, now or at an earlier call.
        """
        answer = await self._answer(attempted, method, path, call, timeout, options)
        return None if isinstance(answer, Refusal) else answer

    async def existing(
        self,
        attempted: str,
        method: str,
        path: str,
        *,
        call: Call | None = None,
        timeout: timedelta | None = None,
        **options: Any,
    ) -> Response:
        """Return the response to a request of what always exists, as a list.

        Raises:
            ProviderError: as `request`; or the API says that there is no such thing.
        """
        answer = await self._answer(attempted, method, path, call, timeout, options)
        if isinstance(answer, Refusal):
            raise answer.error(ProviderError, f"there is no {path}: {answer.text}")
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _answer(
        self,
        attempted: str,
        method: str,
        path: str,
        call: Call | None,
        timeout: timedelta | None,
        options: Mapping[str, Any],
    ) -> Response | Refusal:
        """Return the response, or the refusal that says that there is no such thing."""
        call = call or _CALLS.get(method, Call.READ)
        try:
            await self._limits.take(call)
        except TooFastError as error:
            raise ProviderRateLimitedError(
                self._provider, attempted, f"not sent: wait for {error}", error.retry_after
            ) from error
        status, headers, body = await self._send(
            attempted, method, path, timeout or self._timeout, options
        )
        response = Response(self._provider, attempted, body, headers)
        if httpx.codes.is_success(status):
            return response
        if not (httpx.codes.is_client_error(status) or httpx.codes.is_server_error(status)):
            raise response.unreadable(f"status {status}")
        refusal = _refusal(response, status)
        refused = self._classify(refusal)
        if refused is None:
            # Absence is a reason to destroy or to replace: a proxy's page must not mean it.
            response.read(_OBJECT)
            return refusal
        if isinstance(refused, ProviderRateLimitedError) and refused.retry_after is not None:
            self._limits.pause(call, refused.retry_after)
        raise refused

    async def _send(
        self,
        attempted: str,
        method: str,
        path: str,
        timeout: timedelta,
        options: Mapping[str, Any],
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            # The timeout of httpx applies to each read only: a slow trickle would never end.
            async with (
                asyncio.timeout(timeout.total_seconds()),
                self._http.stream(
                    method, path, timeout=timeout.total_seconds(), **options
                ) as response,
            ):
                body = await read_bounded(response, MAX_ANSWER_BYTES)
        except TimeoutError as error:
            raise ProviderUnavailableError(
                self._provider,
                attempted,
                f"no whole answer within {span(timeout)}",
            ) from error
        except AnswerRefusedError as error:
            raise ProviderAnswerError(self._provider, attempted, str(error)) from error
        except httpx.InvalidURL as error:
            raise ProviderInvalidError(self._provider, attempted, error_words(error)) from error
        except httpx.HTTPError as error:
            raise ProviderUnavailableError(self._provider, attempted, error_words(error)) from error
        return response.status_code, response.headers, body


def _shown(text: str) -> str:
    return _VALUE.sub("...", without_queries(text))[:SHOWN_CHARACTERS]


def _refusal(response: Response, status: int) -> Refusal:
    try:
        body = all_visible(_JSON.validate_json(response.body))
    except ValidationError:
        body = None
    text = _shown(response.text)
    return Refusal(response.provider, response.attempted, status, response.headers, body, text)
