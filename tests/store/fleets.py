"""Operations, machines, proofs, routes and rollouts for the store's tests."""

import itertools
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from relight.domain.base import Origin
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.machine import Machine, MachineStatus
from relight.domain.names import (
    machine_key,
    rollout_workflow_id,
    route_workflow_id,
)
from relight.domain.proof import Proof
from relight.domain.rollout.records import CloseRolloutInput, OpenRolloutInput
from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.route import (
    OpenRouteInput,
    RecordFaultInput,
    RecordMachineInput,
    RecordProofInput,
    Route,
    SwapBegun,
)
from relight.store.events import Operation
from relight.store.store import Store

ORIGIN = Origin(requested_by="tester", reason="a test")
MANUAL = Operation(origin=ORIGIN)
OBSERVED_AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def declare_tracks(store: Store) -> None:
    store.tracks.set("stable", None, MANUAL)
    store.tracks.set("pinned", "v0.0.70", MANUAL)


class Run:
    """A workflow run. Each call of `activity` is another activity; a retry uses the same one."""

    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        self.run_id = str(uuid.uuid4())
        self._activities = itertools.count(1)

    def activity(self) -> Operation:
        return Operation(ORIGIN, self.workflow_id, self.run_id, str(next(self._activities)))


def run_on(route_id: str = "r-1") -> Run:
    return Run(route_workflow_id(route_id))


def rollout_run(tag: str = "v0.0.74", scope: str = "fleet") -> Run:
    return Run(rollout_workflow_id(tag, scope))


def opening(route_id: str = "r-1", *, track: str = "stable", **changes: str) -> OpenRouteInput:
    values = {"provider": "lab", "region": "east", "release_tag": "v0.0.73", **changes}
    return OpenRouteInput(route_id=route_id, track=track, origin=ORIGIN, **values)


def machine(key: str = "r-1-g1", region: str = "east") -> Machine:
    return Machine(
        key=key,
        provider="lab",
        provider_id=f"id-of-{key}",
        region=region,
        architecture="amd64",
        status=MachineStatus.RUNNING,
        address="192.0.2.7",
    )


def recording(key: str = "r-1-g1") -> RecordMachineInput:
    return RecordMachineInput(machine=machine(key), user_data_sha256="ab" * 32, origin=ORIGIN)


def begin_swap(
    store: Store,
    route_id: str = "r-1",
    tag: str = "v0.0.74",
    operation: Operation | None = None,
    *,
    may_downgrade: bool = False,
) -> SwapBegun:
    """Set what a route should run, as a swap does."""
    return store.routes.begin_swap(
        route_id, tag, operation or run_on(route_id).activity(), lambda _: may_downgrade
    )


def proving(
    route_id: str = "r-1", tag: str = "v0.0.73", *, generation: int = 1, at: datetime = OBSERVED_AT
) -> RecordProofInput:
    proof = Proof(
        release_tag=tag,
        version=tag.removeprefix("v"),
        executable="/usr/bin/lantern-box",
        invocation_id="f" * 32,
        restarts=0,
        stable_for=timedelta(seconds=10),
        probe="GET http://192.0.2.7:8899/healthz: 200",
        observed_at=at,
    )
    key = machine_key(route_id, generation)
    return RecordProofInput(route_id=route_id, machine=machine(key), proof=proof, origin=ORIGIN)


FAULT = Fault(
    kind="unit-failed",
    fault_class=FaultClass.RELEASE,
    summary="lantern-box.service failed",
    attempted="restart lantern-box.service",
    host="192.0.2.7",
    machine_key="r-1-g1",
    argv=("systemctl", "restart", "lantern-box.service"),
    exit_code=1,
    stderr_tail="Job failed.",
    journal_tail=("panic: no configuration", "exited 2"),
)
REFUSAL = Fault(
    kind="release-unknown",
    fault_class=FaultClass.REPOSITORY,
    summary="there is no release v9.9.9",
    refused=True,
)


def failing(
    route_id: str = "r-1",
    fault: Fault = FAULT,
    *,
    key: str | None = None,
    destroyed: bool = False,
    tag: str | None = "v0.0.74",
) -> RecordFaultInput:
    return RecordFaultInput(
        route_id=route_id,
        release_tag=tag,
        fault=fault,
        origin=ORIGIN,
        machine_key=key,
        machine_destroyed=destroyed,
    )


def serve(
    store: Store, route_id: str = "r-1", *, track: str = "stable", at: datetime = OBSERVED_AT
) -> Route:
    """Provision a route, as its workflow does; it was proven at a time."""
    run = run_on(route_id)
    opened = store.routes.open(opening(route_id, track=track), run.activity())
    store.routes.record_machine(recording(opened.machine_key), run.activity())
    proof = proving(route_id, generation=opened.generation, at=at)
    store.routes.record_proof(proof, run.activity())
    return route_of(store, route_id)


def replace_machine(store: Store, run: Run | None = None, *, unreachable: bool = False) -> Any:
    """Give route r-1 its second machine, as its replacement does; return the old one's record."""
    run = run or run_on()
    opened = store.replacements.plan("r-1", run.activity())
    store.routes.record_machine(recording(opened.machine_key), run.activity())
    created, proof = machine(opened.machine_key), proving(tag="v0.0.74").proof
    return store.replacements.attach("r-1", created, proof, run.activity(), unreachable=unreachable)


def opening_rollout(tag: str = "v0.0.74", scope: str = "fleet") -> OpenRolloutInput:
    return OpenRolloutInput(
        rollout_run_id="the operation's", release_tag=tag, scope=scope, origin=ORIGIN
    )


def closing_rollout(
    tag: str = "v0.0.74",
    scope: str = "fleet",
    phase: RolloutPhase = RolloutPhase.CONVERGED,
    *,
    promote: bool = True,
) -> CloseRolloutInput:
    return CloseRolloutInput(
        rollout_run_id="the operation's",
        release_tag=tag,
        scope=scope,
        phase=phase,
        detail="it ended",
        origin=ORIGIN,
        promote=promote,
    )


def plan_rollout(store: Store, routes: Sequence[str]) -> Run:
    """Open a rollout of the fleet, with one wave."""
    run = rollout_run()
    store.rollouts.open(opening_rollout(), run.activity())
    store.rollout_routes.plan(run.run_id, [routes])
    return run


def route_of(store: Store, route_id: str = "r-1") -> Route:
    route = store.routes.get(route_id)
    assert route is not None
    return route


def statuses(store: Store, route_id: str = "r-1") -> list[tuple[str, str]]:
    return [(record.key, record.status) for record in store.machines.list(route_id)]
