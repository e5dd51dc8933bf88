"""Rotation of the client key or the host-key secret, over all machines of the fleet."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.key_rotation import (
    AdvanceRotationInput,
    AwaitWorkerKeysInput,
    KeyStanding,
    RotateKeysInput,
    VisitMachinesInput,
    unfinished_text,
)
from relight.domain.text import plain
from workflows.endings import Unreached, unreached
from workflows.fleet.steps import KeyRotationActivities

FIRST_PAUSE = timedelta(seconds=10)
MAX_PAUSE = timedelta(minutes=5)
"""Between two visits of the machines that the rotation waits for."""

MAX_EVENTS = 500
"""A rotation with a longer history continues as new: it may wait for a machine for weeks, and keeps
no worker of an old version for long."""

_FAILS = "an unfinished rotation fails"
"""The patch: older histories end as completed, finished or not."""


# A run stays on the worker version that started it, until it continues as a new one.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class RotateKeys:
    """Give each machine the new key, then take the old one from each.

    The store has what is proven of each machine. So a run that fails or is cancelled loses nothing:
    the next one goes on. It completes when the rotation is finished. If it waits only for machines
    that a person lets it go on without, it fails with how far the rotation is.
    """

    @workflow.init
    def __init__(self, input: RotateKeysInput) -> None:
        self._input = input
        self._visit_requested = False

    @workflow.signal(description="Visit the machines that are waited for now. Input: none.")
    def visit_now(self) -> None:
        """Visit the machines that are waited for now, and not at the end of the pause."""
        self._visit_requested = True

    @workflow.run
    async def run(self, input: RotateKeysInput) -> KeyStanding:
        """Rotate, and return how far the rotation is.

        Raises:
            ApplicationError: it is not finished; carries how far it is.
        """
        standing = await KeyRotationActivities.begin_key_rotation.local(input)
        pause = FIRST_PAUSE
        while not standing.rotation.is_finished:
            before = standing.rotation.phase
            self._show(standing)
            await KeyRotationActivities.await_worker_keys(
                AwaitWorkerKeysInput(rotation=standing.rotation)
            )
            standing = await self._visit_all(standing)
            if standing.rotation.phase is not before:
                pause = FIRST_PAUSE
            elif standing.blocked:
                self._show(standing)
                await self._wait(pause)
                pause = min(pause * 2, MAX_PAUSE)
            else:
                break
        self._show(standing)
        if not standing.rotation.is_finished and workflow.patched(_FAILS):
            raise unreached(Unreached.ROTATION_UNFINISHED, unfinished_text(standing), standing)
        return standing

    async def _visit_all(self, standing: KeyStanding) -> KeyStanding:
        """Visit all machines that are not as the phase requires; return how far it is then."""
        self._visit_requested = False
        after: str | None = ""
        while after is not None:
            visited = await KeyRotationActivities.visit_machines(
                VisitMachinesInput(rotation=standing.rotation, after=after)
            )
            after = visited.last
        return await KeyRotationActivities.advance_key_rotation.local(
            AdvanceRotationInput(kind=self._input.kind, origin=self._input.origin)
        )

    async def _wait(self, pause: timedelta) -> None:
        if workflow.info().get_current_history_length() > MAX_EVENTS:
            workflow.continue_as_new(self._input)
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(lambda: self._visit_requested, timeout=pause)

    def _show(self, standing: KeyStanding) -> None:
        text = f"{standing.rotation.phase}: {standing.counts}"
        for each in standing.waiting:
            text += f"\nwaits for {plain(each.machine_key)}: {plain(each.reason)}"
        workflow.set_current_details(text)
