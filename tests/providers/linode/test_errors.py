"""Linode: every documented refusal is an error of its own."""

import json
from typing import Any

import pytest
from pydantic import JsonValue

from relight.providers.api import Refusal
from relight.providers.driver import (
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.linode.answers import classify

REFUSALS: list[tuple[int, str, type[ProviderError] | None]] = [
    (400, "Label must be unique", ProviderUnavailableError),
    (400, "Linode busy.", ProviderUnavailableError),
    (400, "Account Limit reached. Please open a support ticket.", ProviderQuotaError),
    (400, "No open slots for this plan!", ProviderCapacityError),
    (400, "This plan has limited capacity in this region", ProviderCapacityError),
    (400, "image is not valid", ProviderInvalidError),
    (400, "type is not valid", ProviderInvalidError),
    (400, "Length must be 3-50 characters", ProviderInvalidError),
    (400, "Cannot filter on group", ProviderInvalidError),
    (401, "Invalid Token", ProviderCredentialsError),
    (401, "Your OAuth token is not authorized to use this endpoint.", ProviderCredentialsError),
    (403, "Unauthorized", ProviderCredentialsError),
    (404, "Not found", None),
    (408, "Request timed out", ProviderUnavailableError),
    (429, "Too many requests", ProviderRateLimitedError),
    (500, "Internal Server Error", ProviderUnavailableError),
    (502, "Bad gateway", ProviderUnavailableError),
    (503, "Service unavailable", ProviderUnavailableError),
    (504, "Gateway timeout", ProviderUnavailableError),
]
"""Every status that Linode documents for create, list, view and delete, with its reasons."""


@pytest.mark.parametrize(("status", "reason", "expected"), REFUSALS)
def test_every_documented_refusal_is_an_error_of_its_own(
    status: int, reason: str, expected: type[ProviderError] | None
):
    body: JsonValue = {"errors": [{"reason": reason, "field": "x"}]}
    refusal = Refusal("linode", "create r-1-g1", status, {}, body, json.dumps(body))
    error = classify(refusal)
    if expected is None:
        assert error is None
        return
    assert type(error) is expected
    assert f"{status} x: {reason}" in str(error)


@pytest.mark.parametrize("body", [None, [], {"errors": "x"}, {"errors": [1, {"reason": 2}]}])
def test_a_refusal_of_another_shape_has_its_text(body: Any):
    error = classify(Refusal("linode", "create", 400, {}, body, "<html>no</html>"))
    assert type(error) is ProviderInvalidError
    assert "<html>no</html>" in str(error)
