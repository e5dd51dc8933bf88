"""Eight services of Debian, of eight process models, with no settings but those of `relight init`.

`make services` tries many more. The packages come from the apt sources of the lab's base image.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from devkit.services.catalog import CATALOG
from devkit.services.declared import declare
from devkit.services.trial import Report, Trials
from lab import lifecycle
from starter.local.lab import LabAddresses
from tests.support.lab import Lab

pytestmark = pytest.mark.lab

QUICK = (
    *("redis-server", "memcached", "dnsmasq", "prometheus-node-exporter"),
    *("supervisor", "fcgiwrap", "netfilter-persistent", "tftpd-hpa"),
)
AT_ONCE = 2

Running = Mapping[str, "asyncio.Task[Report]"]


@pytest.fixture(scope="module")
async def trials(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """All trials, two of which run at once."""
    addresses = LabAddresses.model_validate_json((lab.state / lifecycle.LAB_FILE).read_text())
    shared = Trials(lab.state, addresses, tmp_path_factory.mktemp("trials"), declare)
    limit = asyncio.Semaphore(AT_ONCE)

    async def run(name: str) -> Report:
        async with limit:
            return await shared.run(name)

    running = {name: asyncio.create_task(run(name)) for name in QUICK}
    yield running
    for task in running.values():
        task.cancel()
    await asyncio.gather(*running.values(), return_exceptions=True)


@pytest.mark.parametrize("name", QUICK)
async def test_a_service_of_debian_is_provisioned_swapped_and_rolled_back(
    trials: Running, name: str
) -> None:
    report = await trials[name]
    assert (report.failed_step, report.reason, report.log) == ("", "", ())


def test_they_are_of_as_many_process_models() -> None:
    models = {entry.package: entry.model for entry in CATALOG}
    assert len({models[name] for name in QUICK}) == len(QUICK) == 8
