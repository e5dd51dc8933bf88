"""Every error that Gcore documents for create, list and delete, and what becomes of it."""

import pytest
from pydantic import ValidationError

from devkit.simulated.parts import OWNER
from relight.providers.driver import (
    MachineSpec,
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.gcore.answers import (
    GcoreConflictError,
    GcoreNotFoundError,
    Task,
    kind_of_failure,
)
from relight.providers.gcore.creation import GcoreSettings
from tests.providers.fakes.gcore import FakeGcore

DOCUMENTED: list[tuple[int, str, str, type[ProviderError]]] = [
    (
        *(400, "ValidationError", "Validation Error: {'volumes': ['Field required']}"),
        ProviderInvalidError,
    ),
    (
        *(400, "ValidationError", "Following name templates are not allowed for this client"),
        ProviderInvalidError,
    ),
    (
        *(401, "not_authenticated", "Authentication credentials were not provided."),
        ProviderCredentialsError,
    ),
    (401, "not_authenticated", "Bad permanent token: 4242", ProviderCredentialsError),
    (401, "token_not_valid", "Token is invalid or expired", ProviderCredentialsError),
    (401, "token_not_valid", "Given token not valid for any token type", ProviderCredentialsError),
    (
        *(403, "ForbiddenError", "The region 6 has reached the limit of flavor g1-standard-2-4"),
        ProviderCapacityError,
    ),
    (
        *(403, "", "You do not have permission to perform this action."),
        ProviderCredentialsError,
    ),
    (404, "NotFoundError", "Instance 726ecfcc could not be found", GcoreNotFoundError),
    (405, "HTTPError", "HTTP 405: Method Not Allowed", ProviderInvalidError),
    (409, "ConflictError", "Resource already exists", GcoreConflictError),
    (429, "", "Rate limit exceeded", ProviderRateLimitedError),
    (500, "HTTPError", "HTTP 500: Internal Server Error", ProviderUnavailableError),
    *(
        (status, "QuotaLimitExceed", "Quota limit for volume_size exceeded by 70", kind)
        for status, kind in ((400, ProviderQuotaError), (403, ProviderQuotaError))
    ),
]
"""Status, class, words, and our error: Gcore's page on errors. It gives a quota no status."""

OTHERS: list[tuple[int, str, str, type[ProviderError]]] = [
    (403, "ForbiddenError", "User has no permission for project 11", ProviderCredentialsError),
    (404, "", "no Route matched with those values", ProviderAnswerError),
    (408, "", "timeout", ProviderUnavailableError),
    (422, "ValidationError", "Unprocessable", ProviderInvalidError),
    (502, "", "Bad Gateway", ProviderUnavailableError),
    (503, "", "Service Unavailable", ProviderUnavailableError),
    (504, "", "Gateway Timeout", ProviderUnavailableError),
]

KEY = "r-1-g1"
SPEC = MachineSpec(region=FakeGcore.region, user_data="x", owner=OWNER, generation=1)


@pytest.mark.parametrize("call", ["create", "list", "delete"])
@pytest.mark.parametrize(("status", "code", "message", "expected"), DOCUMENTED + OTHERS)
async def test_each_error_is_one_of_ours_with_the_vendors_words(
    fake, tmp_path, call, status, code, message, expected
):
    driver = fake.driver(tmp_path)
    machine = await driver.ensure(KEY, SPEC)
    region_id, _, instance_id = machine.provider_id.partition(":")
    listing = f"/cloud/v1/instances/11/{region_id}"
    method, path, request = {
        "create": ("POST", "/cloud/v2/instances/11/76", lambda: driver.ensure("r-2-g1", SPEC)),
        "list": ("GET", listing, driver.list),
        "delete": ("DELETE", f"{listing}/{instance_id}", lambda: driver.destroy(machine.ref)),
    }[call]
    body = {"exception_class": code, "message": message, "request_id": "f6393419"}
    fake.instead[method, path] = status, body
    if (call, code) == ("delete", "NotFoundError"):
        # It was there a moment ago.
        assert await driver.destroy(machine.ref) is False
        await driver.close()
        return
    with pytest.raises(ProviderError) as refused:
        await request()
    assert type(refused.value) is expected
    shown = message.replace(": 4242", "")
    assert shown in str(refused.value)
    assert "4242" not in str(refused.value)
    assert [each.name for each in fake.instances.values()] == [KEY]
    await driver.close()


@pytest.mark.parametrize(
    "body", ["a text", ["a", "list"], 7, None, {"exception_class": 7, "message": ["x"]}]
)
@pytest.mark.parametrize(
    ("status", "expected"), [(404, ProviderAnswerError), (400, ProviderInvalidError)]
)
async def test_an_error_of_another_shape_says_nothing_of_absence(
    fake, tmp_path, body, status, expected
):
    driver = fake.driver(tmp_path)
    machine = await driver.ensure(KEY, SPEC)
    path = f"/cloud/v1/instances/11/{machine.provider_id.replace(':', '/')}"
    fake.instead["GET", path] = status, body
    with pytest.raises(expected):
        await driver.get(machine.provider_id)
    await driver.close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Quota limit for volume_size exceeded by 20", ProviderQuotaError),
        ("No valid host was found. There are not enough hosts available.", ProviderCapacityError),
        ("The region 6 has reached the limit of flavor g1-standard-2-4", ProviderCapacityError),
        ("Not enough resources in the region", ProviderCapacityError),
        ("Insufficient compute capacity", ProviderCapacityError),
        ("Out of stock", ProviderCapacityError),
        ("Port could not be bound", ProviderUnavailableError),
        ("The volume's capacity has to be 5 GiB", ProviderUnavailableError),
        ("", ProviderUnavailableError),
        (None, ProviderUnavailableError),
    ],
)
def test_a_failed_task_is_read_by_its_words(words, expected):
    assert kind_of_failure(Task(id="t-1", state="ERROR", error=words)) is expected


EXTRA = {"region_id": 76}
LOCATION = {"shapes": ["g2-standard-2-4"], "image": "debian-12-x64", "extra": EXTRA}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": {}}, "locations.luxembourg-2.extra.region_id: Field required"),
        ({"extra": {"region_id": "x"}}, "locations.luxembourg-2.extra.region_id"),
        ({"extra": {**EXTRA, "region": 1}}, "locations.luxembourg-2.extra.region: Extra inputs"),
        ({"zones": ["a"]}, "locations.luxembourg-2.zones: Gcore's regions have no zones"),
        ({"subnet": "s"}, "set subnet and extra.network_id, or neither"),
        ({"extra": {**EXTRA, "network_id": "n"}}, "set subnet and extra.network_id, or neither"),
    ],
)
def test_a_location_that_cannot_be_used_is_named(tmp_path, change, words):
    given = {"api_key_file": tmp_path / "key", "project_id": 11}
    with pytest.raises(ValidationError) as refused:
        GcoreSettings.model_validate({**given, "locations": {"luxembourg-2": LOCATION | change}})
    assert words in str(refused.value)


def test_two_locations_are_two_regions(tmp_path):
    """A machine's id names its region by the number."""
    given = {"api_key_file": tmp_path / "key", "project_id": 11}
    locations = {"luxembourg-2": LOCATION, "again": LOCATION}
    with pytest.raises(ValidationError, match="the region_id of luxembourg-2"):
        GcoreSettings.model_validate({**given, "locations": locations})
