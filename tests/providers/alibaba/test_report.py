"""What `relight provider check alibaba` shows: nothing is created for it."""

import pytest

from devkit.exercised import Against
from relight.providers.driver import ProviderCredentialsError, ProviderUnavailableError
from relight.providers.report import RegionReport
from tests.providers.alibaba.conftest import KEY, SPEC
from tests.providers.fakes.alibaba_parts import KEY_ID, Image, Refused
from tests.providers.fakes.base import Trap
from tests.support.exercised import note


async def test_a_report_has_rights_images_and_limits(fake, driver):
    report = await driver.report()
    note("alibaba", "report", Against.FAKE)
    assert (report.account, report.problems) == (KEY_ID, ())
    assert report.rights == (
        "ecs:DescribeInstances",
        "ecs:DeleteInstance",
        "ecs:RunInstances",
    )
    assert report.regions == (
        RegionReport("cn-hangzhou", "amd64", "m-hangzhou"),
        RegionReport("eu-central-1", "arm64", "m-new"),
    )
    assert report.limits["eu-central-1: max-postpaid-instance-vcpu-count"] == "100"
    assert fake.bill.entries() == []
    assert (await driver.ensure(KEY, SPEC)).key == KEY


async def test_a_zone_without_stock_and_a_region_without_an_image_are_named(fake, driver):
    fake.traps.add(Trap.CAPACITY)
    fake.full = {("vsw-hangzhou-h", "ecs.g7.large")}
    fake.images = [image for image in fake.images if image.region == "cn-hangzhou"]
    fake.images.append(Image("m-x86", "relight-base-1", "eu-central-1", "x86_64"))
    hangzhou, frankfurt = (await driver.report()).regions
    [problem] = hangzhou.problems
    assert problem.startswith("ecs.g7.large in vsw-hangzhou-h: 403 OperationDenied.NoStock")
    assert frankfurt.image is None
    assert frankfurt.problems == ("there is none for arm64 whose name begins with relight-base-",)


async def test_a_right_that_lacks_is_named(fake, driver):
    fake.refuse("DeleteInstance", Refused(403, "Forbidden.RAM", "Not authorized."))
    fake.refuse("RunInstances", Refused(403, "Forbidden.RAM", "Not authorized."), times=5)
    report = await driver.report()
    assert report.rights == ("ecs:DescribeInstances",)
    assert "machines could not be destroyed: 403 Forbidden.RAM: Not authorized." in report.problems
    assert {len(each.problems) for each in report.regions} == {4, 1}


async def test_no_report_is_made_without_rights_or_an_answer(fake, driver):
    fake.refuse("RunInstances", Refused(500, "InternalError"))
    with pytest.raises(ProviderUnavailableError):
        await driver.report()
    fake.traps.add(Trap.NO_PERMISSION)
    with pytest.raises(ProviderCredentialsError, match=r"Forbidden\.RAM"):
        await driver.report()
