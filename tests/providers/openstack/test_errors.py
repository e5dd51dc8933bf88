"""What OpenStack's services answer, and which of our errors each answer is.

The statuses are those that the references of the APIs name for the calls in use; the words are
those of the services' sources.
"""

import json
from typing import Any

import httpx
import pytest

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
from relight.providers.image_driver import ImageInUseError
from relight.providers.openstack.errors import (
    IdTakenError,
    TokenRefusedError,
    classify,
    fault_kind,
)

REFUSED = ProviderError


def nova(key: str, status: int, message: str) -> tuple[int, Any]:
    return status, {key: {"code": status, "message": message}}


def keystone(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"code": status, "message": message, "title": "Title"}}


def neutron(status: int, kind: str, message: str) -> tuple[int, Any]:
    return status, {"NeutronError": {"type": kind, "message": message, "detail": ""}}


def glance(status: int, message: str) -> tuple[int, Any]:
    return status, {"message": message, "code": f"{status} Title", "title": "Title"}


def bad(message: str) -> tuple[int, Any]:
    return nova("badRequest", 400, message)


def forbidden(message: str) -> tuple[int, Any]:
    return nova("forbidden", 403, message)


def conflict(message: str) -> tuple[int, Any]:
    return nova("conflictingRequest", 409, message)


QUOTA_OF_CORES = (
    "Quota exceeded for cores, ram: Requested 4, 8192, but already used 18, 40960 of 20, 48000 "
    "cores, ram"
)

CASES: list[tuple[str, tuple[int, Any], type[ProviderError]]] = [
    # Nova: create. 400, 401, 403, 404, 409.
    ("create: image", bad("Can not find requested image"), ProviderInvalidError),
    ("create: flavor", bad("Flavor f-9 could not be found."), ProviderInvalidError),
    ("create: network", bad("Network n-9 could not be found."), ProviderInvalidError),
    ("create: group", bad("Security group web not found."), ProviderInvalidError),
    ("create: disk", bad("Flavor's disk is too small for requested image."), ProviderInvalidError),
    ("create: base64", bad("User data needs to be valid base 64."), ProviderInvalidError),
    ("create: volume type", bad("Volume type ssd could not be found."), ProviderInvalidError),
    (
        "create: zone without hosts",
        bad("The requested availability zone is not available"),
        ProviderCapacityError,
    ),
    ("create: instances", forbidden(QUOTA_OF_CORES), ProviderQuotaError),
    (
        "create: quota by resources",
        forbidden("Quota exceeded for resources: ['instances']"),
        ProviderQuotaError,
    ),
    ("create: ports", forbidden("Maximum number of ports exceeded"), ProviderQuotaError),
    (
        "create: metadata",
        forbidden("Maximum number of metadata items exceeds 128"),
        ProviderQuotaError,
    ),
    (
        "create: group of servers",
        forbidden("Quota exceeded, too many servers in group"),
        ProviderQuotaError,
    ),
    (
        "create: no right",
        forbidden("Policy doesn't allow os_compute_api:servers:create to be performed."),
        ProviderCredentialsError,
    ),
    (
        "create: flavor without a disk",
        forbidden("Only volume-backed servers are allowed for flavors with zero disk."),
        ProviderInvalidError,
    ),
    (
        "create: external network",
        forbidden("It is not allowed to create an interface on external network n-1"),
        ProviderInvalidError,
    ),
    ("create: group's name", conflict("No Unique Match Found."), ProviderInvalidError),
    (
        "create: several networks",
        conflict(
            "More than one possible network found. Specify network ID(s) to select which one(s) "
            "to connect to."
        ),
        ProviderInvalidError,
    ),
    ("create: port", conflict("Port p-1 is still in use."), ProviderInvalidError),
    (
        "create: no host",
        nova("computeFault", 500, "No valid host was found."),
        ProviderCapacityError,
    ),
    # Nova: any call.
    (
        "token",
        keystone(401, "The request you have made requires authentication."),
        TokenRefusedError,
    ),
    (
        "old microversion",
        nova("computeFault", 406, "Version 2.69 is not supported by the API."),
        ProviderInvalidError,
    ),
    ("bug", nova("computeFault", 500, "Unexpected API Error."), ProviderUnavailableError),
    ("not there", nova("notImplemented", 501, "Unable to get console log"), REFUSED),
    ("gateway", (502, None), ProviderUnavailableError),
    ("service", nova("serviceUnavailable", 503, "Try later."), ProviderUnavailableError),
    ("gateway's patience", (504, None), ProviderUnavailableError),
    ("rate", nova("overLimit", 429, "This request was rate-limited."), ProviderRateLimitedError),
    ("a proxy's limit", (413, None), ProviderInvalidError),
    # Nova: list. 400, 401, 403.
    ("list: marker", bad("marker [a-1] not found"), ProviderUnavailableError),
    ("list: query", bad("Invalid input for query parameters limit."), ProviderInvalidError),
    (
        "list: no right",
        forbidden("Policy doesn't allow os_compute_api:servers:detail to be performed."),
        ProviderCredentialsError,
    ),
    # Nova: delete and its action. 401, 403, 404, 409.
    (
        "delete: no right",
        forbidden("Policy doesn't allow os_compute_api:servers:delete to be performed."),
        ProviderCredentialsError,
    ),
    ("delete: locked", conflict("Instance a-1 is locked"), REFUSED),
    (
        "delete: state",
        conflict("Cannot 'delete' instance a-1 while it is in task_state deleting"),
        ProviderUnavailableError,
    ),
    ("console: not ready", conflict("Instance a-1 is not ready"), ProviderUnavailableError),
    # Keystone: 400, 401, 403.
    ("login: body", keystone(400, "Expecting to find domain in user."), ProviderInvalidError),
    ("login: password", keystone(401, "The request you have made requires it."), TokenRefusedError),
    ("login: locked", keystone(401, "The account is locked for user: u-1"), TokenRefusedError),
    ("login: project", keystone(403, "You are not authorized."), ProviderCredentialsError),
    # Glance: 400, 401, 403.
    ("images: marker", (400, {"message": "Marker could not be found"}), ProviderUnavailableError),
    ("image: id", glance(409, "Image ID i-1 already exists!"), IdTakenError),
    (
        "image: status",
        glance(409, "Image status transition from saving to saving is not allowed"),
        ProviderUnavailableError,
    ),
    (
        "image: in use",
        glance(409, "Image i-1 could not be deleted because it is in use: it has snapshots"),
        ImageInUseError,
    ),
    ("image: protected", glance(403, "Image i-1 is protected and cannot be deleted."), REFUSED),
    ("image: schema", glance(400, "Provided object does not match schema"), ProviderInvalidError),
    ("image: no right", glance(403, "You are not authorized"), ProviderCredentialsError),
    ("image: gone meanwhile", glance(410, "Image i-1 could not be found after upload"), REFUSED),
    ("image: no store", glance(503, "Image storage media is full"), ProviderUnavailableError),
    (
        "image: too many",
        glance(
            413, "Project p is over a limit for [Resource image_count_total is over limit of 1]"
        ),
        ProviderQuotaError,
    ),
    (
        "image: too large",
        glance(
            413, "The size of the data 52428800 will exceed the limit. 1048576 bytes remaining."
        ),
        ProviderQuotaError,
    ),
    (
        "image: larger than any",
        glance(413, "Denying attempt to upload image larger than 1099511627776 bytes."),
        ProviderInvalidError,
    ),
    ("images: query", (400, {"message": "unsupported sort"}), ProviderInvalidError),
    ("images: no right", (403, {"message": "Forbidden"}), ProviderCredentialsError),
    # Neutron: 400, 401, 404, 409.
    (
        "address: body",
        neutron(400, "HTTPBadRequest", "Unrecognized attribute"),
        ProviderInvalidError,
    ),
    (
        "address: quota",
        neutron(409, "OverQuota", "Quota exceeded for resources: ['floatingip']."),
        ProviderQuotaError,
    ),
    (
        "address: pool is empty",
        neutron(409, "IpAddressGenerationFailure", "No more IP addresses available on network n."),
        ProviderCapacityError,
    ),
    (
        "address: by another request",
        neutron(409, "FloatingIPPortAlreadyAssociated", "Cannot associate floating IP 203.0.113.1"),
        ProviderUnavailableError,
    ),
    (
        "address: no right",
        neutron(403, "PolicyNotAuthorized", "disallowed"),
        ProviderCredentialsError,
    ),
]


def refusal(status: int, body: Any, **headers: str) -> Refusal:
    text = "" if body is None else json.dumps(body)
    return Refusal("openstack", "create r-1-g1", status, httpx.Headers(headers), body, text)


@pytest.mark.parametrize(
    ("answer", "kind"), [each[1:] for each in CASES], ids=[e[0] for e in CASES]
)
def test_an_answer_is_one_error(answer: tuple[int, Any], kind: type[ProviderError]):
    error = classify(refusal(*answer))
    assert type(error) is kind
    if answer[1] is not None:
        words = next((each for each in _texts(answer[1])), "")
        assert words in str(error)


def _texts(body: Any) -> list[str]:
    found = [each["message"] for each in body.values() if isinstance(each, dict)]
    return found or [body["message"]]


@pytest.mark.parametrize(
    "body",
    [
        nova("itemNotFound", 404, "Instance could not be found")[1],
        neutron(404, "FloatingIPNotFound", "Floating IP f could not be found")[1],
    ],
)
def test_a_404_says_that_there_is_none(body: Any):
    assert classify(refusal(404, body)) is None


@pytest.mark.parametrize("status", [413, 429])
def test_a_rate_limit_says_how_long_to_wait(status: int):
    body = nova("overLimit", status, "This request was rate-limited.")[1]
    error = classify(refusal(status, body, **{"Retry-After": "7"}))
    assert isinstance(error, ProviderRateLimitedError)
    assert error.retry_after is not None
    assert error.retry_after.total_seconds() == 7


def test_words_of_glance_have_no_marks_of_html():
    error = classify(refusal(*glance(403, "You are not authorized.<br /><br />\n\n\n")))
    assert str(error).endswith("403 You are not authorized.")


def test_a_value_that_nova_repeats_is_left_out():
    secret = "c2VjcmV0"
    words = f"Invalid input for field/attribute user_data. Value: {secret}. {secret!r} is too long"
    error = classify(refusal(*bad(words)))
    assert isinstance(error, ProviderInvalidError)
    assert "field/attribute user_data" in str(error)
    assert secret not in str(error)


FAULTS = {
    "No valid host was found. There are not enough hosts available.": ProviderCapacityError,
    "Exceeded maximum number of retries. Exhausted all hosts available for retrying build "
    "failures for instance a-1.": ProviderCapacityError,
    "Build of instance a-1 aborted: No fixed IP addresses available for network: n-1": (
        ProviderCapacityError
    ),
    "Build of instance a-1 aborted: VolumeSizeExceedsAvailableQuota: Requested volume or snapshot "
    "exceeds allowed gigabytes quota. Requested 20G, quota is 1000G and 990G has been consumed.": (
        ProviderQuotaError
    ),
    "Build of instance a-1 aborted: Maximum number of volumes allowed (10) exceeded for quota "
    "'volumes'.": ProviderQuotaError,
    "Build of instance a-1 aborted: Failed to allocate the network(s), not rescheduling.": None,
    "Build of instance a-1 aborted: Image i-1 is unacceptable: it is damaged": None,
    "Instance a-1 is locked": None,
    "": None,
}


@pytest.mark.parametrize(("words", "kind"), FAULTS.items(), ids=[each[:40] for each in FAULTS])
def test_a_fault_of_a_machine_that_never_ran(words: str, kind: type[ProviderError] | None):
    assert fault_kind(words) is kind
