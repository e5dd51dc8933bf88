"""What OpenStack's services answer, as our errors.

Nova, keystone, neutron and glance each wrap their words in another way, and one status means many
things: nova says 403 for a quota and for a missing right. So words count before the status.
"""

import re
from collections.abc import Sequence
from typing import Final

import httpx
from pydantic import JsonValue

from relight.providers.api import Refusal, error_for_status
from relight.providers.driver import (
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.image_driver import ImageInUseError
from relight.providers.rate import retry_after


class TokenRefusedError(ProviderCredentialsError):
    """The token is not accepted (any more). A new one may be."""


class IdTakenError(ProviderUnavailableError):
    """An image has this id, or had it before it was deleted."""


_QUOTA = re.compile(
    r"quota exceeded|OverQuota|exceeds? .{0,60}quota|exceeded for quota|over a limit for|"
    r"data \d+ will exceed the limit|"
    r"maximum number of .{1,60} exceed",
    re.IGNORECASE,
)
_CAPACITY = re.compile(
    r"no valid host was found|exceeded maximum number of retries|insufficient compute resources|"
    r"requested availability zone is not available|no (more|fixed) ip addresses available|"
    r"not enough hosts available",
    re.IGNORECASE,
)
_PASSING = re.compile(r"marker .{0,80} not found|marker could not be found", re.IGNORECASE)
"""The machine where a page begins was deleted since the page before it was read."""

_LOCKED = re.compile(r"is locked|is protected and cannot be deleted", re.IGNORECASE)
_IN_USE = re.compile(r"could not be deleted because it is in use", re.IGNORECASE)
_TAKEN = re.compile(r"image id .{1,80} already exists", re.IGNORECASE)
_INVALID = re.compile(
    r"no unique match|more than one possible network|multiple possible networks|still in use|"
    r"flavors with zero disk|interface on external network",
    re.IGNORECASE,
)
"""Wrong requests with the status of a conflict or of a missing right."""

_REPEATS_THE_REQUEST = re.compile(r"^(.{0,200}?)\. Value: ", re.DOTALL)
"""Nova repeats a value that it refuses: with user-data, the private keys in it."""

_WORDS: Final[Sequence[tuple[re.Pattern[str], type[ProviderError]]]] = (
    (_QUOTA, ProviderQuotaError),
    (_CAPACITY, ProviderCapacityError),
    (_PASSING, ProviderUnavailableError),
    (_INVALID, ProviderInvalidError),
    (_LOCKED, ProviderError),
    (_IN_USE, ImageInUseError),
    (_TAKEN, IdTakenError),
)


def classify(refusal: Refusal) -> ProviderError | None:
    """Return the error that a refusal is; None if the thing that was asked for does not exist."""
    if refusal.status == httpx.codes.NOT_FOUND:
        return None
    words = _words_of(refusal.body)
    return refusal.error(_kind(refusal, words), words)


def fault_kind(words: str) -> type[ProviderError] | None:
    """Return the error that the fault of a machine is, which could not be started.

    None if it is neither for want of capacity nor a quota: another attempt is no better.
    """
    kind = _by_words(words)
    return kind if kind in {ProviderQuotaError, ProviderCapacityError} else None


def _kind(refusal: Refusal, words: str) -> type[ProviderError]:
    status = refusal.status
    if status == httpx.codes.UNAUTHORIZED:
        return TokenRefusedError
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ProviderRateLimitedError
    by_words = _by_words(words)
    if by_words is not None:
        return by_words
    if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        # An old nova limits rates with it; a proxy means that the request is too large.
        is_limit = retry_after(refusal.headers) is not None
        return ProviderRateLimitedError if is_limit else ProviderInvalidError
    if status in (httpx.codes.BAD_REQUEST, httpx.codes.NOT_ACCEPTABLE):
        return ProviderInvalidError
    if status == httpx.codes.NOT_IMPLEMENTED:
        return ProviderError
    return error_for_status(status)


def _by_words(words: str) -> type[ProviderError] | None:
    return next((kind for pattern, kind in _WORDS if pattern.search(words)), None)


def _words_of(body: JsonValue | None) -> str:
    """Return the words in an answer's body, without what repeats the request; empty if none."""
    if not isinstance(body, dict):
        return ""
    for inner in body.values():
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return _own(f"{inner.get('type') or ''} {inner['message']}".strip())
    message = body.get("message")
    # The framework of glance puts marks of HTML into it.
    return _own(message.replace("<br />", "").strip()) if isinstance(message, str) else ""


def _own(words: str) -> str:
    repeated = _REPEATS_THE_REQUEST.match(words)
    return f"{repeated[1]} (it repeats the value)" if repeated else words
