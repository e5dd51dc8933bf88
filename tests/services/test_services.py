"""Eight services of Debian, of eight process models, with no settings but those of `relight init`.

`make services` tries many more. The packages come from the apt sources of the lab's base image.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from devkit.services.catalog import CATALOG
from devkit.services.trial import run_trial
from starter.local.service_trial import TrialReport

pytestmark = pytest.mark.lab

QUICK = (
    *("redis-server", "memcached", "dnsmasq", "prometheus-node-exporter"),
    *("supervisor", "fcgiwrap", "netfilter-persistent", "tftpd-hpa"),
)
AT_ONCE = 2

Running = Mapping[str, "asyncio.Task[TrialReport]"]


@pytest.fixture(scope="module")
async def trials() -> AsyncIterator[Running]:
    """All trials, two of which run at once."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def run(name: str) -> TrialReport:
        async with limit:
            return await run_trial(name)

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
    assert report.failed is None, report.failed
    assert len(report.steps) == 6


def test_they_are_of_as_many_process_models() -> None:
    models = {entry.package: entry.model for entry in CATALOG}
    assert len({models[name] for name in QUICK}) == len(QUICK) == 8
