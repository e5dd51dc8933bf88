"""The signature, the vendor's error codes, and what its words must not bring out."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue, SecretStr

from relight.providers.alibaba.driver import AlibabaDriver
from relight.providers.alibaba.errors import (
    DryRunPassedError,
    ImageCopyingError,
    ImagePublicError,
    NoSuchImageError,
    TokenMismatchError,
    WrongStatusError,
    classify,
)
from relight.providers.alibaba.signature import Acs3Auth
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
from relight.providers.image_driver import ImageInUseError
from tests.providers.alibaba.conftest import KEY, SECRET, SPEC
from tests.providers.fakes.alibaba_parts import Refused
from tests.providers.fakes.base import Trap


def test_a_signature_is_as_in_the_vendors_own_example():
    auth = Acs3Auth(
        "YourAccessKeyId",
        SecretStr("YourAccessKeySecret"),
        now=lambda: datetime(2023, 10, 26, 10, 22, 32, tzinfo=UTC),
        nonce=lambda: "3156853299f313e23d1673dc12e1703d",
    )
    request = httpx.Request(
        "POST",
        "https://ecs.cn-shanghai.aliyuncs.com/",
        params={
            "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
            "RegionId": "cn-shanghai",
        },
        headers={"x-acs-action": "RunInstances", "x-acs-version": "2014-05-26"},
    )
    signed = next(auth.auth_flow(request))
    assert signed.headers["Authorization"] == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;"
        "x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature="
        "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


KINDS: dict[str, type[ProviderError]] = {
    "capacity": ProviderCapacityError,
    "quota": ProviderQuotaError,
    "credentials": ProviderCredentialsError,
    "rate-limited": ProviderRateLimitedError,
    "unavailable": ProviderUnavailableError,
    "token-mismatch": TokenMismatchError,
    "wrong-status": WrongStatusError,
    "dry-run-passed": DryRunPassedError,
    "refused": ProviderError,
    "image-in-use": ImageInUseError,
    "no-image": NoSuchImageError,
    "copying": ImageCopyingError,
    "public-image": ImagePublicError,
    "invalid": ProviderInvalidError,
}
TABLE = Path(__file__).with_name("error_codes.txt")
ROWS = [line.split() for line in TABLE.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("kind", "action", "status", "code"), ROWS)
def test_every_documented_code_is_the_error_that_it_means(kind, action, status, code):
    body: JsonValue = {"Code": code, "Message": "In the vendor's words.", "RequestId": "3F7B"}
    error = classify(Refusal("alibaba", action, int(status), {}, body, ""))
    if kind == "absent":
        assert error is None
        return
    assert type(error) is KINDS[kind]
    assert error.answer == f"{status} {code}: In the vendor's words."


def test_every_documented_code_is_in_the_table_once():
    assert len({tuple(row[1:]) for row in ROWS}) == len(ROWS)
    assert {row[0] for row in ROWS} == {*KINDS, "absent"}
    assert {row[1] for row in ROWS} == {
        *("RunInstances", "DescribeInstances", "DeleteInstance", "any"),
        *("DescribeImages", "GetInstanceConsoleOutput"),
        *("ImportImage", "CopyImage", "DeleteImage", "CancelCopyImage"),
    }


async def test_a_console_that_the_vendor_does_not_give_yet_is_none(fake, driver):
    machine = await driver.ensure(KEY, SPEC)
    fake.instances["i-00000001"].status = "Starting"
    assert await driver.console(machine.ref) is None
    fake.instances["i-00000001"].status = "Running"
    assert await driver.console(machine.ref) == f"{KEY} login: "


async def test_quota_permission_and_wrong_parameters_are_told_apart(fake, driver):
    for trap, error in (
        (Trap.QUOTA, ProviderQuotaError),
        (Trap.INVALID, ProviderInvalidError),
        (Trap.NO_PERMISSION, ProviderCredentialsError),
    ):
        fake.traps = {trap}
        with pytest.raises(error) as refused:
            await driver.ensure(KEY, SPEC)
        assert type(refused.value) is error
    assert fake.instances == {}


async def test_the_vendor_says_how_long_to_wait(fake, driver):
    headers = {"x-acs-retry-after": "1500"}
    fake.refuse("DescribeInstances", Refused(400, "Throttling.User", headers=headers))
    with pytest.raises(ProviderRateLimitedError) as refused:
        await driver.list("eu-central-1")
    assert refused.value.retry_after == timedelta(seconds=1.5)


async def test_a_limit_of_one_region_is_not_one_of_the_others(fake, driver):
    headers = {"x-acs-retry-after": "600000"}
    fake.refuse("DescribeInstances", Refused(400, "Throttling.User", headers=headers))
    with pytest.raises(ProviderRateLimitedError, match=r"Throttling\.User"):
        await driver.list("eu-central-1")
    with pytest.raises(ProviderRateLimitedError, match="not sent"):
        await driver.list("eu-central-1")
    assert (await driver.list("cn-hangzhou")).machines == ()


async def test_a_wrong_secret_is_refused_and_the_answer_brings_out_no_user_data(fake, tmp_path):
    """The vendor repeats the request that it has calculated the signature of."""
    auth = Acs3Auth("LTAI-fake", SecretStr("wrong-secret"))
    driver = AlibabaDriver(fake.settings(tmp_path), auth=auth)
    region = driver._regions["cn-hangzhou"]
    encoded = base64.b64encode(SECRET.encode()).decode()
    with pytest.raises(ProviderCredentialsError, match="SignatureDoesNotMatch") as refused:
        await region.create("create", {"UserData": encoded})
    assert encoded[:40] not in str(refused.value)
    assert "wrong-secret" not in str(refused.value)
    assert not refused.value.retryable
    await driver.close()


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_an_error_of_something_else_than_the_api_means_nothing(fake, driver, status):
    """As of a proxy, which may repeat the URL with the user-data in it."""
    machine = await driver.ensure(KEY, SPEC)
    encoded = base64.b64encode(SECRET.encode()).decode()
    for text in (f'{{"error": "{encoded}"}}', f"<html>/?UserData={encoded}</html>"):
        for call in (driver.destroy(machine.ref), driver.find(KEY), driver.ensure(KEY, SPEC)):
            fake.pages = [(status, text)]
            with pytest.raises(ProviderAnswerError) as refused:
                await call
            assert encoded[:40] not in str(refused.value)
    assert len(fake.bill.running()) == 2
