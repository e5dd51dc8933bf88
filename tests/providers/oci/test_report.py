"""Oracle Cloud Infrastructure: its report on the account, and the consoles of machines."""

from pathlib import Path

import pytest

from devkit.exercised import Against
from relight.providers.driver import (
    ProviderCredentialsError,
)
from relight.providers.oci.driver import OciDriver
from tests.providers.fakes.oci import OciFake
from tests.providers.fakes.oci_account import FIXED, FLEX, FRANKFURT, PHOENIX
from tests.providers.oci.machines import KEY, gone, running
from tests.support.exercised import note


async def test_a_report_has_each_region_with_its_image(fake: OciFake, driver: OciDriver) -> None:
    newest = fake.add_image(FRANKFURT, "relight-base-20260201", (FLEX, FIXED))
    report = await driver.report()
    assert (report.problems, [each.problems for each in report.regions]) == ((), [(), ()])
    note("oci", "report", Against.FAKE)
    assert report.rights == ("list instances", "list addresses of instances", "list images")
    assert [(each.name, each.image == newest) for each in report.regions] == [
        (FRANKFURT, True),
        (PHOENIX, False),
    ]


async def test_a_report_names_what_a_region_lacks(fake: OciFake, tmp_path: Path) -> None:
    driver = fake.driver(
        tmp_path,
        zones=("Uocm:EU-FRANKFURT-1-AD-1/FAULT-DOMAIN-1", "Uocm:NOWHERE-AD-1"),
        shapes=(f"{FLEX}:1:8", "VM.Standard.A1.Flex:1:6"),
        subnet=fake.subnet(PHOENIX),
        image_prefix="none-",
    )
    frankfurt, _ = (await driver.report()).regions
    await driver.close()
    assert frankfurt.image is None
    problems = "; ".join(frankfurt.problems)
    for part in (
        "zone Uocm:NOWHERE-AD-1: 400 InvalidParameter",
        "no zone of it offers the shape VM.Standard.A1.Flex",
        f"subnet {fake.subnet(PHOENIX)}: 404 NotAuthorizedOrNotFound",
        f"image for {FLEX}: there is none",
    ):
        assert part in problems


async def test_a_report_names_the_rights_that_are_missing(fake: OciFake, driver: OciDriver) -> None:
    fake.forbidden = {"list_vnic_attachments"}
    report = await driver.report()
    assert report.rights == ("list instances", "list images")
    assert [fake.compartment in each for each in report.problems] == [True]
    assert "list addresses of instances" in report.problems[0]


async def test_a_console_is_captured_and_its_capture_is_deleted(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    assert f"{KEY} login:" in str(await driver.console(machine.ref))
    assert fake.histories == {}


async def test_the_console_of_a_machine_that_is_gone_is_none(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    await driver.destroy(machine.ref)
    await gone(driver, machine.ref)
    assert await driver.console(machine.ref) is None


@pytest.mark.parametrize("forbidden", ["get_history", "get_history_data"])
async def test_a_capture_that_cannot_be_read_is_deleted_too(
    fake: OciFake, driver: OciDriver, forbidden: str
) -> None:
    machine = await running(driver)
    fake.forbidden = {forbidden}
    with pytest.raises(ProviderCredentialsError):
        await driver.console(machine.ref)
    assert fake.histories == {}
