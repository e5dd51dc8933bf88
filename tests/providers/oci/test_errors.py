"""Every documented error of Oracle Cloud Infrastructure's Compute API is an error of ours.

The table is that of the vendor's page "API Errors", and what its users have seen besides.
"""

import json

import httpx
import pytest

from relight.providers.api import Refusal
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.oci.answers import AbsentOrForbiddenError, TokenSpentError, classify

MESSAGE = "Something is wrong."
MODIFIED = "instance ocid1.instance.oc1.phx.a is currently being modified, try again later"

ERRORS: list[tuple[int, str, str, type[ProviderError]]] = [
    (400, "CannotParseRequest", MESSAGE, ProviderInvalidError),
    (400, "InvalidParameter", MESSAGE, ProviderInvalidError),
    (400, "MissingParameter", MESSAGE, ProviderInvalidError),
    (400, "RelatedResourceNotAuthorizedOrNotFound", MESSAGE, ProviderInvalidError),
    (400, "LimitExceeded", MESSAGE, ProviderQuotaError),
    (
        *(
            400,
            "LimitExceeded",
            "Please try launching the instance in a different Availability Domain",
        ),
        ProviderCapacityError,
    ),
    (400, "QuotaExceeded", MESSAGE, ProviderQuotaError),
    (401, "NotAuthenticated", MESSAGE, ProviderCredentialsError),
    (402, "SignUpRequired", MESSAGE, ProviderCredentialsError),
    (403, "SignUpRequired", MESSAGE, ProviderCredentialsError),
    (403, "NotAllowed", MESSAGE, ProviderCredentialsError),
    (403, "NotAuthorized", MESSAGE, ProviderCredentialsError),
    (404, "NotAuthorizedOrNotFound", MESSAGE, AbsentOrForbiddenError),
    (404, "InvalidParameter", MESSAGE, ProviderInvalidError),
    (404, "NotFound", MESSAGE, ProviderInvalidError),
    (404, "NamespaceNotFound", MESSAGE, ProviderInvalidError),
    (405, "MethodNotAllowed", MESSAGE, ProviderInvalidError),
    (409, "Conflict", MODIFIED, ProviderUnavailableError),
    (409, "ExternalServerIncorrectState", MESSAGE, ProviderUnavailableError),
    (409, "IncorrectState", MESSAGE, ProviderUnavailableError),
    (409, "LockConflict", MESSAGE, ProviderUnavailableError),
    (409, "InvalidatedRetryToken", MESSAGE, TokenSpentError),
    (409, "NotAuthorizedOrResourceAlreadyExists", MESSAGE, ProviderCredentialsError),
    (412, "NoEtagMatch", MESSAGE, ProviderInvalidError),
    (413, "RequestEntityTooLarge", MESSAGE, ProviderInvalidError),
    (422, "UnprocessableEntity", MESSAGE, ProviderInvalidError),
    (429, "TooManyRequests", "Too many requests for the user", ProviderRateLimitedError),
    (431, "RequestHeaderFieldsTooLarge", MESSAGE, ProviderInvalidError),
    (500, "InternalError", "Out of host capacity.", ProviderCapacityError),
    (
        500,
        "InternalError",
        "Out of capacity for shape VM.Standard.A1.Flex in availability domain AD-1.",
        ProviderCapacityError,
    ),
    (500, "InternalError", MESSAGE, ProviderUnavailableError),
    (500, "InternalServerError", MESSAGE, ProviderUnavailableError),
    (501, "MethodNotImplemented", MESSAGE, ProviderInvalidError),
    (502, "BadGateway", MESSAGE, ProviderUnavailableError),
    (503, "ServiceUnavailable", MESSAGE, ProviderUnavailableError),
    (504, "GatewayTimeout", MESSAGE, ProviderUnavailableError),
]


def refusal(status: int, body: object, headers: dict[str, str] | None = None) -> Refusal:
    return Refusal(
        provider="oci",
        attempted="create r-1-g1",
        status=status,
        headers=httpx.Headers(headers or {}),
        body=body,  # type: ignore[arg-type]
        text=json.dumps(body),
    )


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"), ERRORS, ids=[f"{each[0]} {each[1]}" for each in ERRORS]
)
def test_a_documented_error_is_ours_with_the_vendors_words(
    status: int, code: str, message: str, kind: type[ProviderError]
) -> None:
    headers = {"opc-request-id": "A/B/C"}
    error = classify(refusal(status, {"code": code, "message": message}, headers))
    assert type(error) is kind
    assert error.answer == f"{status} {code}: {message} (opc-request-id A/B/C)"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderAnswerError),
        (403, ProviderCredentialsError),
        (404, ProviderAnswerError),
        (429, ProviderRateLimitedError),
        (502, ProviderUnavailableError),
    ],
)
@pytest.mark.parametrize("body", [None, [], {"code": 7, "message": "x"}, {"error": "x"}])
def test_a_page_that_is_not_the_vendors_never_means_absence(
    status: int, kind: type[ProviderError], body: object
) -> None:
    assert type(classify(refusal(status, body))) is kind


def test_a_rate_limit_says_how_long_to_wait() -> None:
    body = {"code": "TooManyRequests", "message": MESSAGE}
    error = classify(refusal(429, body, {"Retry-After": "7"}))
    assert isinstance(error, ProviderRateLimitedError)
    assert error.retry_after is not None
    assert error.retry_after.total_seconds() == 7


def test_the_vendors_words_are_bounded_and_visible() -> None:
    error = classify(refusal(400, {"code": "InvalidParameter", "message": "\x1b[2J" + "x" * 9000}))
    assert len(str(error)) < 700
    assert "\x1b" not in str(error)
