"""Activities on machines at their providers: create, and wait until they run."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from temporalio import activity

from activities import policies
from activities.execution import current_run_id
from activities.fleet_limit import USE
from activities.machine.first_boot import UserDataRenderer
from activities.machine.polls import MachinePolls
from relight.domain.duration import span
from relight.domain.key_rotation import KeyRotations
from relight.domain.machine import (
    AwaitMachineInput,
    CreateMachineInput,
    DescribeRegionInput,
    Machine,
    MachineAtProvider,
    MachineStatus,
    Region,
)
from relight.engine.step import step
from relight.providers.driver import (
    MachineSpec,
    ProviderDriver,
    ProviderError,
    ProviderUnavailableError,
    driver_named,
    region_named,
)
from relight.store.image_use import ImageUse
from relight.store.threads import in_thread


class MachineFailedError(ProviderError):
    """The provider reports that the machine failed, or it is gone."""

    kind = "machine-failed"


class UserDataChangedError(ProviderError):
    """The user-data differs from what was rendered for this machine before."""

    kind = "user-data-changed"


class MachineActivities:
    """Each activity works on one machine. Those that wait share the listings of their region."""

    def __init__(
        self,
        drivers: Mapping[str, ProviderDriver],
        user_data: UserDataRenderer,
        owner: str,
        creations: Mapping[str, AbstractAsyncContextManager[object]] | None = None,
        rotations: Callable[[], KeyRotations] = dict,
        image_use: ImageUse | None = None,
    ) -> None:
        """Request nothing yet.

        Args:
            drivers: of the providers, by name.
            user_data: renders the user-data of new machines.
            owner: the fleet's ownership tag.
            creations: limits the creations at once, by provider; without an entry there is none.
            rotations: returns the rotations of keys that are on record.
            image_use: has the image of each machine from before it is created, so that nobody
                deletes it; None: machines are made of what the settings say.
        """
        self._drivers = drivers
        self._user_data = user_data
        self._owner = owner
        self._creations = creations or {}
        self._rotations = rotations
        self._image_use = image_use
        self._polls = MachinePolls()

    @step(policies.LOOKUP, lambda i: f"{i.provider}/{i.region}")
    async def describe_region(self, input: DescribeRegionInput) -> Region:
        """Return the region; refuse an unknown provider or region."""
        return await region_named(self._driver(input.provider), input.region)

    @step(
        policies.CREATE,
        lambda i: f"{i.plan.key} at {i.plan.provider}/{i.plan.region}",
        lasting=True,
    )
    async def create_machine(self, input: CreateMachineInput) -> Machine:
        """Create the machine of a plan, or adopt the machine that has its key.

        The user-data contains the private host key. It is rendered here again, and goes to the
        provider only. Its keys are those of now: the machine is on record, so a rotation that is
        not beyond it waits for it.
        """
        user_data = self._user_data.render(input.plan, await in_thread(self._rotations))
        if user_data.sha256 != input.user_data_sha256:
            raise UserDataChangedError(
                input.plan.provider,
                f"create {input.plan.key}",
                "templates or settings changed since its user-data was rendered: run it again",
            )
        image = input.plan.image
        if image is not None and self._image_use is not None:
            await in_thread(self._image_use.take, input.plan.key, image)
        spec = MachineSpec(
            region=input.plan.region,
            user_data=user_data.packed,
            owner=self._owner,
            generation=input.plan.generation,
            created_by=current_run_id(),
            is_repeat=activity.info().attempt > 1,
            image=image.image_id if image else None,
        )
        return (await self._ensure(input.plan.provider, input.plan.key, spec)).machine

    async def _ensure(self, provider: str, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Create or adopt a machine, within the limit of creations at once."""
        driver = self._driver(provider)
        async with self._creations.get(provider) or nullcontext():
            try:
                async with asyncio.timeout(USE.total_seconds()):
                    return await driver.ensure(key, spec)
            except TimeoutError as error:
                raise ProviderUnavailableError(
                    provider, f"create {key}", f"no answer within {span(USE)}"
                ) from error

    @step(policies.BOOT, lambda i: i.machine.key)
    async def await_machine(self, input: AwaitMachineInput) -> Machine:
        """Return the machine when its provider reports that it runs and has an address."""
        driver, key = self._driver(input.machine.provider), input.machine.key
        while True:
            found = await self._polls.next(driver, input.region, key, input.machine.provider_id)
            is_gone = found is None or found.key != key
            if found is None or is_gone or found.status is MachineStatus.FAILED:
                raise MachineFailedError(
                    input.machine.provider,
                    f"boot {key}",
                    "the machine is gone" if is_gone else "the machine failed",
                )
            if found.status is MachineStatus.RUNNING and found.address is not None:
                return found.machine
            activity.heartbeat(found.status)

    def _driver(self, provider: str) -> ProviderDriver:
        return driver_named(self._drivers, provider)
