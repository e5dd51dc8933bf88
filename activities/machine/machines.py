"""Machines at their providers: created, awaited, destroyed."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

from temporalio import activity

from activities import policies
from activities.machine.first_boot import UserDataRenderer
from relight.domain.machine import (
    AwaitMachineInput,
    CreateMachineInput,
    DescribeRegionInput,
    DestroyMachineInput,
    Machine,
    MachineDestroyed,
    MachineStatus,
    Region,
)
from relight.domain.names import key_number
from relight.domain.remediation import why_another
from relight.domain.sweep.sweep import MachineAtProvider
from relight.engine.step import step
from relight.providers.driver import MachineSpec, ProviderDriver, ProviderError

POLL = timedelta(milliseconds=300)

ASK_AGAIN_AFTER = timedelta(seconds=30)
"""How long a machine may be on its way to its end before its provider is asked for it again.

Most are gone within seconds, and then nothing is asked twice. A provider that accepted the first
and forgot it is reminded often enough for an attempt of ten minutes, and seldom enough for one
that counts our calls."""


class UnknownLocationError(ProviderError):
    """There is no such provider, or it has no such region."""

    kind = "unknown-location"


class MachineFailedError(ProviderError):
    """The provider says that the machine came to nothing."""

    kind = "machine-failed"


class UserDataChangedError(ProviderError):
    """The user-data is no longer what was rendered for this machine."""

    kind = "user-data-changed"


class MachineNotOursError(ProviderError):
    """What has the key of a machine that was to be destroyed is another machine."""

    kind = "machine-not-ours"


class MachineActivities:
    """Each asks one provider for one thing."""

    def __init__(
        self, drivers: Mapping[str, ProviderDriver], user_data: UserDataRenderer, owner: str
    ) -> None:
        self._drivers = drivers
        self._user_data = user_data
        self._owner = owner

    @step(policies.LOOKUP, lambda i: f"{i.provider}/{i.region}")
    async def describe_region(self, input: DescribeRegionInput) -> Region:
        """Return the region; refuse a provider or a region that is not there."""
        region = await self._driver(input.provider).region(input.region)
        if region is None:
            raise UnknownLocationError(
                input.provider, f"find region {input.region}", "it has no such region"
            )
        return region

    @step(policies.CREATE, lambda i: f"{i.plan.key} at {i.plan.provider}/{i.plan.region}")
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
        spec = MachineSpec(
            region=input.plan.region,
            user_data=user_data.text,
            owner=self._owner,
            generation=input.plan.generation,
        )
        found = await self._driver(input.plan.provider).ensure(input.plan.key, spec)
        return found.machine

    @step(policies.BOOT, lambda i: i.machine.key)
    async def await_machine(self, input: AwaitMachineInput) -> Machine:
        """Return the machine once its provider says that it runs and where."""
        driver = self._driver(input.machine.provider)
        while True:
            found = await driver.find(input.machine.key)
            if found is None or found.status is MachineStatus.FAILED:
                raise MachineFailedError(
                    input.machine.provider,
                    f"boot {input.machine.key}",
                    "the machine is gone" if found is None else "the machine failed",
                )
            if found.status is MachineStatus.RUNNING and found.address is not None:
                return found.machine
            activity.heartbeat(found.status)
            await asyncio.sleep(POLL.total_seconds())

    @step(policies.DESTROY, lambda i: f"{i.key} at {i.provider}")
    async def destroy_machine(self, input: DestroyMachineInput) -> MachineDestroyed:
        """Return when the provider has no machine of this key any more. Absent is success.

        At every look, what has the key has to be the very machine that is named, and to bear our
        tag: else nothing is asked for. An end that was accepted is waited for, and asked for
        again after a while: providers forget.
        """
        driver = self._driver(input.provider)
        asked_at: float | None = None
        was_present = False
        while (found := await driver.find(input.key)) is not None:
            self._require_ours(found, input)
            if asked_at is None and found.status is MachineStatus.DELETING:
                asked_at = time.monotonic()  # By somebody else, or by an attempt before this one.
            elif asked_at is None or _is_over(ASK_AGAIN_AFTER, asked_at):
                await driver.destroy(found.ref)
                asked_at = time.monotonic()
            was_present = True
            activity.heartbeat(found.status)
            await asyncio.sleep(POLL.total_seconds())
        return MachineDestroyed(key=input.key, was_present=was_present)

    def _require_ours(self, found: MachineAtProvider, input: DestroyMachineInput) -> None:
        """Refuse to destroy a machine unless it is the one that is named; what is not known fits.

        Raises:
            MachineNotOursError: it is another one, or does not bear our tag.
        """
        known = {
            "provider_id": input.provider_id or found.provider_id,
            "generation": input.generation or key_number(input.key),
        }
        why = why_another(input.model_copy(update=known), found, self._owner)
        if why is not None:
            raise MachineNotOursError(input.provider, f"destroy {input.key}", why)

    def _driver(self, provider: str) -> ProviderDriver:
        try:
            return self._drivers[provider]
        except KeyError:
            known = ", ".join(sorted(self._drivers)) or "none"
            raise UnknownLocationError(
                provider, "find provider", f"it is not configured here; configured: {known}"
            ) from None


def _is_over(span: timedelta, since: float) -> bool:
    return time.monotonic() - since >= span.total_seconds()
