"""What activities make of a provider's errors: kinds of their own, and waits that are honoured."""

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncssh
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.execution import MIN_RETRY_AFTER, FaultInterceptor
from activities.machine import polls
from activities.machine.first_boot import FirstBootActivities
from activities.machine.machines import MachineActivities
from activities.machine.polls import MachinePolls
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.parts import OWNER, user_data_renderer
from relight.domain.machine import (
    CreateMachineInput,
    MachineAtProvider,
    MachinePlan,
    RenderCloudInitInput,
)
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import (
    MachineSpec,
    ProviderCapacityError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    UserDataLimit,
)

RENDERER = user_data_renderer(asyncssh.generate_private_key("ssh-ed25519"))
PLAN = MachinePlan(
    key="r-1-g1",
    route_id="r-1",
    track="stable",
    provider="fake",
    region="fake-east",
    release_version="0.0.74",
)


class RefusingCloud(FakeCloud):
    """Refuses creations and listings with an error, as often as it is told to."""

    def __init__(self, error: ProviderError, times: int = 1) -> None:
        super().__init__()
        self.left, self.error, self.listed = times, error, 0

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        self._refuse()
        return await super().ensure(key, spec)

    async def list(self, region: str | None = None) -> ProviderListing:
        self.listed += 1
        self._refuse()
        return await super().list(region)

    def _refuse(self) -> None:
        if self.left:
            self.left -= 1
            raise self.error


class _Calls(ActivityInboundInterceptor):
    def __init__(self) -> None:
        """Last in the chain; calls the activity."""

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return await input.fn(*input.args)


async def failure_of(fn: Any, input: object) -> ApplicationError:
    """Return what Temporal is told about an activity that fails."""

    async def run() -> None:
        chain = FaultInterceptor().intercept_activity(_Calls())
        await chain.execute_activity(ExecuteActivityInput(fn, [input], None, {}))

    with pytest.raises(ApplicationError) as failed:
        await ActivityEnvironment().run(run)
    return failed.value


async def failed_creation(error: ProviderError) -> ApplicationError:
    machines = MachineActivities({"fake": RefusingCloud(error)}, RENDERER, OWNER)
    create = CreateMachineInput(plan=PLAN, user_data_sha256=RENDERER.render(PLAN).sha256)
    return await failure_of(machines.create_machine, create)


def refusal(kind: type[ProviderError]) -> ProviderError:
    return kind("fake", "create r-1-g1", "the vendor's own words")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ProviderCapacityError, "provider-capacity"),
        (ProviderQuotaError, "provider-quota"),
        (ProviderInvalidError, "provider-invalid"),
    ],
)
async def test_what_a_retry_cannot_help_is_a_fault_of_its_own_with_the_vendors_words(
    error: type[ProviderError], kind: str
):
    failed = await failed_creation(refusal(error))
    assert (failed.type, failed.non_retryable) == (kind, True)
    assert "the vendor's own words" in failed.message


@pytest.mark.parametrize(
    ("asked", "delay"),
    [
        (timedelta(seconds=40), timedelta(seconds=40)),
        (timedelta(0), MIN_RETRY_AFTER),
        (None, None),
    ],
)
async def test_a_creation_is_tried_again_when_the_provider_asks_for_it(
    asked: timedelta | None, delay: timedelta | None
):
    failed = await failed_creation(ProviderRateLimitedError("fake", "create", "429", asked))
    assert (failed.type, failed.non_retryable) == ("provider-rate-limited", False)
    assert failed.next_retry_delay == delay


@pytest.fixture
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls, "POLL", timedelta(milliseconds=10))
    monkeypatch.setattr(polls, "MAX_POLL", timedelta(milliseconds=400))


@pytest.mark.usefixtures("short_interval")
async def test_the_next_listing_waits_for_as_long_as_the_provider_asks():
    asked = timedelta(milliseconds=300)
    cloud = RefusingCloud(ProviderRateLimitedError("fake", "list", "429", asked))
    began = time.monotonic()
    assert await MachinePolls().next(cloud, "fake-east", "r-1-g1", None) is None
    assert time.monotonic() - began >= asked.total_seconds()
    assert cloud.listed == 2


@pytest.mark.usefixtures("short_interval")
async def test_a_longer_wait_is_left_to_the_retry_of_the_activity():
    asked = timedelta(minutes=5)
    cloud = RefusingCloud(ProviderRateLimitedError("fake", "list", "429", asked), times=9)
    with pytest.raises(ProviderRateLimitedError) as refused:
        await MachinePolls().next(cloud, "fake-east", "r-1-g1", None)
    assert refused.value.retry_after == asked
    assert cloud.listed == 1


async def test_user_data_that_a_provider_does_not_take_is_refused_before_the_creation():
    cloud = FakeCloud()
    boots = FirstBootActivities(RENDERER, SimulatedHosts(), drivers={"fake": cloud})
    render = RenderCloudInitInput(plan=PLAN)
    rendered = await ActivityEnvironment().run(boots.render_cloud_init, render)
    cloud.user_data_limit = UserDataLimit(rendered.size_bytes)
    await ActivityEnvironment().run(boots.render_cloud_init, render)
    cloud.user_data_limit = UserDataLimit(rendered.size_bytes, is_encoded=True)
    failed = await failure_of(boots.render_cloud_init, render)
    assert (failed.type, failed.non_retryable) == ("provider-invalid", True)
    assert "RELIGHT_SERVICE__FILES" in failed.message
    assert cloud.created == []


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_driver_learns_that_a_creation_is_repeated(attempt: int):
    repeated: list[bool] = []

    class Cloud(FakeCloud):
        async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
            repeated.append(spec.is_repeat)
            return await super().ensure(key, spec)

    machines = MachineActivities({"fake": Cloud()}, RENDERER, OWNER)
    create = CreateMachineInput(plan=PLAN, user_data_sha256=RENDERER.render(PLAN).sha256)
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    await environment.run(machines.create_machine, create)
    assert repeated == [attempt > 1]
