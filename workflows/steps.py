"""One typed step per activity, bound to its policy. This is the only door to `activities`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast, overload

from temporalio import workflow

from messages.base import Message
from workflows import policies
from workflows.policies import Policy
from workflows.undo import undoing

with workflow.unsafe.imports_passed_through():
    from activities.audits import AuditActivities
    from activities.cloud_init import CloudInitActivities
    from activities.destructions import DestructionActivities
    from activities.disruptions import DisruptionActivities
    from activities.draining import DrainActivities
    from activities.evidence import EvidenceActivities
    from activities.fleet import FleetActivities
    from activities.gate_checks import GateCheckActivities
    from activities.machines import MachineActivities
    from activities.observing import ObservingActivities
    from activities.packages import PackageActivities
    from activities.pools import PoolActivities
    from activities.preflight import PreflightActivities
    from activities.releases import ReleaseActivities
    from activities.replacements import ReplacementActivities
    from activities.rollouts import RolloutActivities
    from activities.services import ServiceActivities
    from activities.sweeps import SweepActivities
    from activities.treatments import TreatmentActivities

Owner = TypeVar("Owner")
Input = TypeVar("Input", bound=Message)
Output = TypeVar("Output", bound=Message)


class Step(Generic[Input, Output]):
    """An activity as a workflow awaits it.

    A cancel that comes while it runs waits for the activity to end, so that its undo never
    overtakes it; the step then raises the cancel, also where the activity ended well. Steps of
    an undo are not cut short.
    """

    def __init__(
        self, method: Callable[..., Any], policy: Policy, summary: Callable[[Input], str]
    ) -> None:
        self._method = method
        self._policy = policy
        self._summary = summary

    async def __call__(self, input: Input) -> Output:
        """Run the activity under its policy.

        Raises:
            ActivityError: it failed for good; its cause carries the fault.
            asyncio.CancelledError: the workflow was cancelled meanwhile.
        """
        output = await workflow.execute_activity_method(
            self._method,
            input,
            start_to_close_timeout=self._policy.attempt,
            heartbeat_timeout=self._policy.heartbeat,
            retry_policy=self._policy.retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=self._summary(input),
        )
        return self._ended(output)

    async def local(self, input: Input) -> Output:
        """Run the activity in the workflow's own worker, without a task of its own at the server.

        For what takes milliseconds and heeds no cancel: it costs a tenth, and is a marker in the
        history, with the same summary. Raises as above.
        """
        output = await workflow.execute_local_activity_method(
            self._method,
            input,
            start_to_close_timeout=self._policy.attempt,
            retry_policy=self._policy.retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=self._summary(input),
        )
        return self._ended(output)

    def _ended(self, output: Any) -> Output:
        if workflow.cancellation_reason() is not None and not undoing():
            raise asyncio.CancelledError
        return cast("Output", output)


@overload
def _step(
    method: Callable[[Owner, Input], Awaitable[Output]],
    policy: Policy,
    summary: Callable[[Input], str],
) -> Step[Input, Output]: ...
@overload
def _step(
    method: Callable[[Owner, Input], Output],
    policy: Policy,
    summary: Callable[[Input], str],
) -> Step[Input, Output]: ...
def _step(
    method: Callable[..., Any], policy: Policy, summary: Callable[[Any], str]
) -> Step[Any, Any]:
    return Step(method, policy, summary)


desired_release = _step(
    FleetActivities.desired_release, policies.BOOKKEEPING, lambda i: f"for track {i.track}"
)
load_route = _step(FleetActivities.load_route, policies.BOOKKEEPING, lambda i: i.route_id)
release_before = _step(FleetActivities.release_before, policies.BOOKKEEPING, lambda i: i.route_id)
open_route = _step(
    FleetActivities.open_route, policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.release_tag}"
)
record_machine = _step(
    FleetActivities.record_machine, policies.BOOKKEEPING, lambda i: i.machine.key
)
set_target = _step(
    FleetActivities.set_target, policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.release_tag}"
)
record_proof = _step(
    FleetActivities.record_proof,
    policies.BOOKKEEPING,
    lambda i: f"{i.route_id}: {i.proof.release_tag}",
)
record_fault = _step(
    FleetActivities.record_fault, policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.fault.kind}"
)

resolve_release = _step(ReleaseActivities.resolve_release, policies.LOOK_UP, lambda i: i.tag)

render_cloud_init = _step(
    CloudInitActivities.render_cloud_init, policies.BOOKKEEPING, lambda i: i.plan.key
)
await_first_boot = _step(
    CloudInitActivities.await_first_boot, policies.BOOT, lambda i: i.machine.key
)

describe_region = _step(
    MachineActivities.describe_region, policies.LOOK_UP, lambda i: f"{i.provider}/{i.region}"
)
create_machine = _step(
    MachineActivities.create_machine,
    policies.CREATE,
    lambda i: f"{i.plan.key} at {i.plan.provider}/{i.plan.region}",
)
await_machine = _step(MachineActivities.await_machine, policies.BOOT, lambda i: i.machine.key)
destroy_machine = _step(
    MachineActivities.destroy_machine, policies.DESTROY, lambda i: f"{i.key} at {i.provider}"
)

swap_release = _step(
    PackageActivities.swap_release,
    policies.CHANGE,
    lambda i: f"{i.release.package}={i.release.version} on {i.machine.key}",
)
prove_release = _step(
    ServiceActivities.prove_release,
    policies.PROVE,
    lambda i: f"{i.release.tag} on {i.machine.key}",
)

open_rollout = _step(
    RolloutActivities.open_rollout, policies.BOOKKEEPING, lambda i: f"{i.release_tag}: {i.scope}"
)
architectures = _step(
    RolloutActivities.architectures, policies.BOOKKEEPING, lambda i: f"of {i.scope}"
)
plan_rollout = _step(RolloutActivities.plan_rollout, policies.BOOKKEEPING, lambda i: i.scope)
preflight = _step(
    PreflightActivities.preflight, policies.LOOK_UP, lambda i: f"{i.release.tag}: {i.scope}"
)
advance_wave = _step(
    RolloutActivities.advance_wave,
    policies.BOOKKEEPING,
    lambda i: f"{i.work}, wave {i.number}: {len(i.ended)} ended, {len(i.in_flight)} under way",
)
begin_proofs = _step(
    RolloutActivities.begin_proofs, policies.BOOKKEEPING, lambda i: f"of wave {i.number}"
)
widen_wave = _step(
    RolloutActivities.widen_wave, policies.BOOKKEEPING, lambda i: f"wave {i.number} by {i.by}"
)
join_late = _step(
    RolloutActivities.join_late, policies.BOOKKEEPING, lambda i: f"as wave {i.number}"
)
retry_failed = _step(
    RolloutActivities.retry_failed, policies.BOOKKEEPING, lambda i: f"in wave {i.number}"
)
skip_route = _step(RolloutActivities.skip_route, policies.BOOKKEEPING, lambda i: i.route_id)
check_gate = _step(
    GateCheckActivities.check_gate, policies.CHECK, lambda i: f"{i.name}, after wave {i.wave}"
)
record_decision = _step(
    RolloutActivities.record_decision,
    policies.BOOKKEEPING,
    lambda i: f"wave {i.wave}: {i.decision}",
)
record_steer = _step(
    RolloutActivities.record_steer,
    policies.BOOKKEEPING,
    lambda i: f"{i.action} by {i.origin.requested_by}",
)
close_rollout = _step(
    RolloutActivities.close_rollout, policies.BOOKKEEPING, lambda i: f"{i.phase}: {i.detail}"
)

observe_fleet = _step(
    ObservingActivities.observe_fleet,
    policies.OBSERVE,
    lambda i: "a dry run" if i.dry_run else "the whole fleet",
)
audit_routes = _step(
    AuditActivities.audit_routes, policies.AUDIT, lambda i: f"of {len(i.routes)} routes"
)
begin_treatment = _step(
    TreatmentActivities.begin_treatment,
    policies.BOOKKEEPING,
    lambda i: f"{i.action.kind} {i.action.route_id}: {i.action.reason}",
)
close_operation = _step(
    TreatmentActivities.close_operation, policies.BOOKKEEPING, lambda i: i.step.reason
)
look_again = _step(SweepActivities.look_again, policies.LOOK_UP, lambda i: i.step.key)
record_swept = _step(
    SweepActivities.record_swept, policies.BOOKKEEPING, lambda i: f"{i.step} {i.key}"
)

begin_replacement = _step(
    ReplacementActivities.begin_replacement,
    policies.BOOKKEEPING,
    lambda i: f"{i.route_id}: {i.reason}",
)
save_evidence = _step(
    EvidenceActivities.save_evidence, policies.EVIDENCE, lambda i: f"of {i.machine.key}"
)
claim_machine = _step(
    ReplacementActivities.claim_machine, policies.BOOKKEEPING, lambda i: f"for {i.route_id}"
)
plan_successor = _step(
    ReplacementActivities.plan_successor, policies.BOOKKEEPING, lambda i: f"for {i.route_id}"
)
attach_machine = _step(
    ReplacementActivities.attach_machine,
    policies.BOOKKEEPING,
    lambda i: f"{i.machine.key} to {i.route_id}",
)
give_back = _step(
    ReplacementActivities.give_back, policies.BOOKKEEPING, lambda i: f"what {i.route_id} claimed"
)
take_disruption = _step(
    DisruptionActivities.take_disruption,
    policies.BOOKKEEPING,
    lambda i: f"{i.route_id}: {i.reason}",
)
release_disruption = _step(
    DisruptionActivities.release_disruption, policies.BOOKKEEPING, lambda i: i.route_id
)
drain_machine = _step(DrainActivities.drain_machine, policies.DRAIN, lambda i: i.machine.key)
ask_destruction = _step(
    DestructionActivities.ask_destruction,
    policies.BOOKKEEPING,
    lambda i: f"may {i.key} go?",
)
record_destroyed = _step(
    DestructionActivities.record_destroyed, policies.BOOKKEEPING, lambda i: f"{i.key}: {i.reason}"
)

plan_pool = _step(
    PoolActivities.plan_pool, policies.BOOKKEEPING, lambda i: f"{i.provider}/{i.region}"
)
plan_pool_machine = _step(
    PoolActivities.plan_pool_machine,
    policies.BOOKKEEPING,
    lambda i: f"{i.provider}/{i.region}: {i.release_tag}",
)
prepare_pool_machine = _step(
    PoolActivities.prepare_pool_machine, policies.BOOKKEEPING, lambda i: i.key
)
leave_pool = _step(PoolActivities.leave_pool, policies.BOOKKEEPING, lambda i: i.key)
record_pool_ready = _step(
    PoolActivities.record_pool_ready, policies.BOOKKEEPING, lambda i: i.machine.key
)
record_pool_fault = _step(
    PoolActivities.record_pool_fault, policies.BOOKKEEPING, lambda i: f"{i.key}: {i.fault.kind}"
)
