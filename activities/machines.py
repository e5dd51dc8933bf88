"""Machines at their providers: created, awaited, destroyed."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from temporalio import activity

from activities.cloud_init import UserDataRenderer
from messages.machine import (
    AwaitMachineInput,
    CreateMachineInput,
    DescribeRegionInput,
    DestroyMachineInput,
    Machine,
    MachineDestroyed,
    MachineRef,
    MachineStatus,
    Region,
)
from providers.driver import MachineSpec, ProviderDriver
from providers.errors import ProviderError

POLL = timedelta(milliseconds=300)


class UnknownPlaceError(ProviderError):
    """There is no such provider, or it has no such region."""

    kind = "unknown-place"


class MachineFailedError(ProviderError):
    """The provider says that the machine came to nothing."""

    kind = "machine-failed"


class UserDataChangedError(ProviderError):
    """The user-data is no longer what was rendered for this machine."""

    kind = "user-data-changed"


class MachineActivities:
    """Each asks one provider for one thing."""

    def __init__(self, drivers: Mapping[str, ProviderDriver], user_data: UserDataRenderer) -> None:
        self._drivers = drivers
        self._user_data = user_data

    @activity.defn
    async def describe_region(self, input: DescribeRegionInput) -> Region:
        """Return the region; refuse a provider or a region that is not there."""
        region = await self._driver(input.provider).region(input.region)
        if region is None:
            raise UnknownPlaceError(
                input.provider, f"find region {input.region}", "it has no such region"
            )
        return region

    @activity.defn
    async def create_machine(self, input: CreateMachineInput) -> Machine:
        """Create the plan's machine, or adopt the one that has its key.

        The user-data holds the host's private key: it is rendered here, again, and goes from
        here to the provider and nowhere else.
        """
        user_data = self._user_data.render(input.plan)
        if user_data.sha256 != input.user_data_sha256:
            raise UserDataChangedError(
                input.plan.provider,
                f"create {input.plan.key}",
                "templates or settings changed since its user-data was rendered: run it again",
            )
        spec = MachineSpec(region=input.plan.region, user_data=user_data.text)
        return await self._driver(input.plan.provider).ensure(input.plan.key, spec)

    @activity.defn
    async def await_machine(self, input: AwaitMachineInput) -> Machine:
        """Return the machine once its provider says that it runs and where."""
        driver = self._driver(input.machine.provider)
        while True:
            machine = await driver.find(input.machine.key)
            if machine is None or machine.status is MachineStatus.FAILED:
                raise MachineFailedError(
                    input.machine.provider,
                    f"boot {input.machine.key}",
                    "the machine is gone" if machine is None else "the machine failed",
                )
            if machine.status is MachineStatus.RUNNING and machine.address is not None:
                return machine
            activity.heartbeat(machine.status)
            await asyncio.sleep(POLL.total_seconds())

    @activity.defn
    async def destroy_machine(self, input: DestroyMachineInput) -> MachineDestroyed:
        """Return when the provider has no machine of this key any more. Absent is success."""
        driver = self._driver(input.provider)
        was_present = False
        while (machine := await driver.find(input.key)) is not None:
            if machine.status is not MachineStatus.DELETING:
                was_present |= await driver.destroy(_named(machine, input))
            activity.heartbeat(machine.status)
            await asyncio.sleep(POLL.total_seconds())
        return MachineDestroyed(key=input.key, was_present=was_present)

    def _driver(self, provider: str) -> ProviderDriver:
        try:
            return self._drivers[provider]
        except KeyError:
            known = ", ".join(sorted(self._drivers)) or "none"
            raise UnknownPlaceError(
                provider, "find provider", f"it is not configured here; configured: {known}"
            ) from None


def _named(machine: Machine, input: DestroyMachineInput) -> MachineRef:
    """Name the machine to destroy: by the id that was recorded, where there is one."""
    return MachineRef(
        key=input.key,
        provider=input.provider,
        provider_id=input.provider_id or machine.provider_id,
    )
