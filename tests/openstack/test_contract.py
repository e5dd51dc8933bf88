"""The contract of drivers on a real OpenStack. Between driver and nova there is a faulty proxy."""

import inspect
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from devkit.chaos.faulty_proxy import faulty_proxy
from devkit.chaos.provider_faults import ProviderFault
from devkit.openstack.resources import REGION
from tests.openstack.conftest import OpenStack
from tests.providers import test_contract as contract
from tests.support.contract_clouds import ContractCloud

pytestmark = pytest.mark.timeout(3600)

DEADLINE = timedelta(minutes=15)
UNANSWERED_FOR = timedelta(minutes=1)
"""How long the driver waits where the test is that no answer comes."""

# The tests of the contract, with the fixture of this module.
globals().update(
    {
        name: test
        for name, test in vars(contract).items()
        if name.startswith("test_") and "subject" in inspect.signature(test).parameters
    }
)


@pytest.fixture
async def subject(
    openstack: OpenStack, request: pytest.FixtureRequest
) -> AsyncIterator[ContractCloud]:
    parameters = getattr(request.node, "callspec", None)
    no_answer = parameters is not None and ProviderFault.UNANSWERED in parameters.params.values()
    with ExitStack() as stack:
        nova = faulty_proxy(f"http://{openstack.host}:8774", accepted_with=204)
        proxy = stack.enter_context(nova)
        async with openstack.compute_behind(proxy.url):
            driver = openstack.driver(*([UNANSWERED_FOR] if no_answer else []))
            cloud = ContractCloud(driver, REGION, proxy.provider_faults, deadline=DEADLINE)
            try:
                yield cloud
            finally:
                await cloud.tidy()
                await driver.close()
