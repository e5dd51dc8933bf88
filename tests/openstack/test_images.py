"""The contract of base images on a real OpenStack."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devkit.chaos.provider_faults import ProviderFaults
from devkit.exercised import Against
from devkit.openstack.resources import REGION
from tests.openstack.conftest import OpenStack
from tests.providers import test_image_contract as contract
from tests.support.exercised import noting
from tests.support.image_clouds import ImageCloud

pytestmark = pytest.mark.timeout(3600)

# The tests of the contract that inject nothing, with the fixture of this module.
globals().update(
    {
        name: test
        for name, test in vars(contract).items()
        if name.startswith("test_")
        and "subject" in inspect.signature(test).parameters
        and "faults.inject" not in inspect.getsource(test)
        and "other_region" not in inspect.getsource(test)
    }
)


@pytest.fixture
async def subject(openstack: OpenStack, tmp_path: Path) -> AsyncIterator[ImageCloud]:
    driver = noting(openstack.driver(), Against.REAL)
    cloud = ImageCloud(driver, (REGION, REGION), ProviderFaults(), tmp_path)
    try:
        yield cloud
    finally:
        await cloud.tidy()
        await driver.close()
