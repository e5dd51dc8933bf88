"""What Gcore says of the account, for `relight provider check`."""

import pytest

from devkit.exercised import Against
from relight.providers.driver import ProviderCredentialsError, ProviderInvalidError
from relight.providers.gcore.driver import GcoreDriver
from relight.providers.report import RegionReport, Reporting
from tests.providers.fakes.base import Trap
from tests.providers.gcore.specs import KEY_1, spec
from tests.support.exercised import note


async def test_the_report_has_the_project_the_images_and_the_quotas(fake, driver):
    await driver.ensure(KEY_1, spec())
    assert isinstance(driver, Reporting)
    report = await driver.report()
    assert (report.account, report.problems) == ("project lantern", ())
    note("gcore", "report", Against.FAKE)
    assert report.regions == (
        RegionReport("frankfurt-2", "arm64", "relight-base-20261101-arm64"),
        RegionReport("luxembourg-2", "amd64", "relight-base-20261101"),
    )
    assert report.limits == {
        "vm_count in frankfurt-2": "0 of 10",
        "vm_count in luxembourg-2": "1 of 10",
    }


async def test_a_region_that_is_of_no_use_is_named_with_its_reasons(fake, tmp_path):
    location = {"shapes": ["g2a-ampere-2-4", "none"], "image": "none", "extra": {"region_id": 76}}
    gone = {**location, "extra": {"region_id": 77}}
    settings = fake.settings(tmp_path, locations={"luxembourg-2": location, "x": gone})
    driver = GcoreDriver(settings)
    luxembourg, other = (await driver.report()).regions
    await driver.close()
    assert luxembourg.problems == (
        "the shape g2a-ampere-2-4 is aarch64",
        "there is no shape none",
        "there is no image none for amd64",
    )
    assert luxembourg.image is None
    assert other.problems == ("Gcore has no region 77",)


async def test_a_report_without_rights_or_of_a_wrong_project_is_an_error(fake, driver, tmp_path):
    wrong = GcoreDriver(fake.settings(tmp_path, project_id=12))
    with pytest.raises(ProviderInvalidError, match="Project 12 could not be found"):
        await wrong.report()
    await wrong.close()
    fake.traps.add(Trap.NO_PERMISSION)
    with pytest.raises(ProviderCredentialsError):
        await driver.report()
