"""Follows a rollout until it ends: lines or JSON for a pipe, a view in place on a terminal."""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError

from relight.domain.names import RouteId
from relight.domain.rollout.answer import arguments_of
from relight.domain.rollout.rollout import (
    RolloutPace,
    RolloutPhase,
    RolloutStatus,
)
from starter.cli import rollout_text
from starter.cli.errors import OperationFailedError
from starter.cli.operations import cli_error, failure_fault
from starter.cli.output import live_view, note, print_json_line
from starter.cli.rollout_eta import RoutesLeft, ends_at, eta_text, routes_left
from starter.cli.rollout_steps import steps_of
from starter.cli.rollout_view import RolloutView, RouteStep, shown_in_progress
from starter.cli.session import fleet_store
from starter.cli.swap_durations import ASSUMED_DURATIONS, SwapDurations, swap_durations
from workflows.endings import result_of
from workflows.rollout.rollout import RolloutRelease

if TYPE_CHECKING:  # slow to import
    from relight.store.rollout_status import FollowedRollout

POLL_EVERY = timedelta(milliseconds=500)

ASK_EVERY = timedelta(seconds=2)
"""How often Temporal is asked for what the view shows beside the store's record."""

ESTIMATE_EVERY = timedelta(seconds=10)
"""How often the end is estimated. For that, all routes are read."""

_ANSWER_WITHIN = timedelta(seconds=2)

_MAX_STEPS = 20
"""No terminal shows many more routes, and each is one request."""

Handle = WorkflowHandle[RolloutRelease, RolloutStatus]


def recorded(run_id: str) -> RolloutStatus | None:
    """Return the status that the store has of a rollout, with whole faults."""
    with fleet_store(reads_only=True) as store:
        return store.rollout_status.get(run_id, whole=True)


async def follow(client: Client, handle: Handle, run_id: str, *, as_json: bool) -> None:
    """Follow a rollout until it ends, and print its result.

    Args:
        client: of Temporal.
        handle: of its newest run.
        run_id: its identity.
        as_json: print a line of JSON at each change instead.

    Raises:
        CliError: it did not converge.
    """
    shown: RolloutStatus | None = None
    result = asyncio.create_task(handle.result())
    try:
        with contextlib.nullcontext() if as_json else live_view() as live:
            asked = _Asked(client, handle, run_id)
            while not result.done():
                followed = await asyncio.to_thread(_followed, run_id)
                if followed is not None:
                    _show_change(shown, followed.status, as_json=as_json, is_live=live is not None)
                    shown = followed.status
                if followed is not None and live is not None:
                    await asked.refresh(followed.status)
                    live.update(asked.view(followed), refresh=True)
                await asyncio.wait([result], timeout=POLL_EVERY.total_seconds())
            await asked.close()
            final = await _result(result)
            final = recorded(run_id) or final
            _show_change(shown, final, as_json=as_json, is_live=live is not None)
    finally:
        result.cancel()
    if not as_json:
        rollout_text.print_status(final)
    if final.phase is not RolloutPhase.CONVERGED:
        arguments = arguments_of(final)
        raise OperationFailedError(
            rollout_text.conclusion(final),
            remedy=f"`relight rollout why {arguments}` names what to do on each failed host.",
        )


async def _result(result: Awaitable[RolloutStatus]) -> RolloutStatus:
    try:
        return await result_of(result, RolloutStatus)
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error)) from None


@dataclass
class _Asked:
    """What is asked beside the rollout's record, while the view goes on."""

    client: Client
    handle: Handle
    run_id: str
    pace: RolloutPace | None = None
    end: datetime | None = None
    steps: Mapping[RouteId, RouteStep] = field(default_factory=dict)
    durations: SwapDurations = ASSUMED_DURATIONS
    _asked_at: datetime | None = None
    _estimated_at: datetime | None = None
    _asking: asyncio.Task[None] | None = None

    async def refresh(self, status: RolloutStatus) -> None:
        """Ask again if it is time. Only the first answers are awaited."""
        now = datetime.now(UTC)
        if self._asking is not None and not self._asking.done():
            return
        if self._asked_at is not None and now - self._asked_at < ASK_EVERY:
            return
        first, self._asked_at = self._asked_at is None, now
        self._asking = asyncio.create_task(self._ask(status))
        if first:
            await self._asking

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def view(self, followed: "FollowedRollout") -> RolloutView:
        """Return the view of a rollout with the newest answers."""
        now = datetime.now(UTC)
        eta = eta_text(followed, self.pace, self.durations, self.end, now)
        return RolloutView(followed, eta, now, self.steps)

    async def _ask(self, status: RolloutStatus) -> None:
        if self.durations.source == "assumed":
            self.durations = await asyncio.to_thread(_durations)
        try:
            self.pace = await self.handle.query(RolloutRelease.pace, rpc_timeout=_ANSWER_WITHIN)
        except (RPCError, WorkflowQueryFailedError):
            self.pace = None
        await self._estimate()
        route_ids = shown_in_progress(status, _MAX_STEPS)
        self.steps = await steps_of(self.client, self.handle.id, route_ids, _ANSWER_WITHIN)

    async def _estimate(self) -> None:
        now = datetime.now(UTC)
        if self.pace is None or self.durations.source == "assumed":
            return
        if self._estimated_at is not None and now - self._estimated_at < ESTIMATE_EVERY:
            return
        self._estimated_at = now
        swap, pace = self.durations.median, self.pace
        left = await asyncio.to_thread(_left, self.run_id)
        self.end = await asyncio.to_thread(ends_at, left, pace, swap, now)


def _followed(run_id: str) -> "FollowedRollout | None":
    with fleet_store(reads_only=True) as store:
        return store.rollout_status.follow(run_id, whole=True)


def _left(run_id: str) -> RoutesLeft:
    with fleet_store(reads_only=True) as store:
        return routes_left(store, run_id)


def _durations() -> SwapDurations:
    with fleet_store(reads_only=True) as store:
        return swap_durations(store)


def _show_change(
    before: RolloutStatus | None, now: RolloutStatus, *, as_json: bool, is_live: bool
) -> None:
    if now == before:
        return
    if as_json:
        print_json_line(now)
        return
    changes = rollout_text.failures if is_live else rollout_text.changes
    for line in changes(before, now):
        note(line)
