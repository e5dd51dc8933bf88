"""Releases on hosts: changed in a transaction that outlives the link to it, and proven."""

import asyncio

from temporalio import activity

from activities import policies
from activities.faults import describe
from activities.operation import current_attempt
from activities.release import deb_of
from activities.route.proof import ProofActivities
from relight.domain.fault.fault import Fault
from relight.domain.proof import ReleaseSwapped, SwapReleaseInput
from relight.engine.step import step
from relight.hosts import transaction
from relight.hosts.connections import Hosts
from relight.hosts.errors import RemoteError
from relight.hosts.host_program import Change
from relight.hosts.shell import Shell
from relight.hosts.transaction import TransactionState
from relight.store.store import Store


class HotSwapActivities:
    """The host does the work in a unit of its own; this waits for it, and looks at what it left."""

    def __init__(self, hosts: Hosts, services: ProofActivities, store: Store) -> None:
        self._hosts = hosts
        self._services = services
        self._store = store

    @step(policies.CHANGE, lambda i: f"{i.release.package}={i.release.version} on {i.machine.key}")
    async def swap_release(self, input: SwapReleaseInput) -> ReleaseSwapped:
        """Bring the machine to the release and prove it; attach where an attempt began it already.

        The unit is named after the workflow's run and the version: every attempt finds the same
        one, and another operation never does. Each attempt leaves an event.
        """
        release = input.release
        unit = transaction.unit_name(
            f"swap {release.package} {release.version} {activity.info().workflow_run_id}"
        )
        change = Change(
            version=release.version,
            rollback=input.allow_downgrade,
            deb=deb_of(release, input.machine.architecture),
        )
        try:
            async with self._hosts.connect(input.machine) as shell:
                swapped = await self._swap(shell, unit, change, input)
        except RemoteError as error:
            await self._note(input, unit, change, fault=describe(error))
            raise
        await self._note(input, unit, change, swapped=swapped)
        return swapped

    async def _swap(
        self, shell: Shell, unit: str, change: Change, input: SwapReleaseInput
    ) -> ReleaseSwapped:
        expected = self._services.expected(input.release)
        ended = await transaction.run_to_end(shell, unit, change, expected, _tell)
        try:
            proof = await self._services.prove(shell, input.release, ended.look)
        except RemoteError as error:
            if not error.retryable:
                await transaction.forget(shell, unit)
            raise
        await transaction.forget(shell, unit)
        return ReleaseSwapped(unit=unit, attached=ended.attached, took=ended.took, proof=proof)

    async def _note(
        self,
        input: SwapReleaseInput,
        unit: str,
        change: Change,
        *,
        swapped: ReleaseSwapped | None = None,
        fault: Fault | None = None,
    ) -> None:
        """Write down what this attempt ran, and what it saw."""
        seen = swapped or fault
        await asyncio.to_thread(
            self._store.events.append,
            "swap-attempted",
            current_attempt(input.origin),
            route_id=input.route_id,
            machine_key=input.machine.key,
            release_tag=input.release.tag,
            fault=fault,
            detail={
                "attempt": activity.info().attempt,
                "unit": unit,
                "ran": change.words(),
                "seen": seen.model_dump(mode="json") if seen else {},
            },
        )


def _tell(state: TransactionState) -> None:
    activity.heartbeat(state.phase)
