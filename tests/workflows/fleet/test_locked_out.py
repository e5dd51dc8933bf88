"""Hosts that answer and lock the control plane out: one is its own fault, many are ours.

A client key that was revoked everywhere, a wrong host-key secret at the worker, a changed rule:
nothing is destroyed, one incident tells what to do, and one run heals everything.
"""

from collections import Counter

import pytest

from relight.domain.pool.pool import PoolStatus
from relight.domain.reconcile.plan import ActionKind
from relight.domain.remediation import ReplacementPolicy
from relight.domain.rollout.rollout import RolloutPhase, RouteProgress
from relight.domain.route import RouteStatus
from relight.hosts.errors import (
    HostKeyMismatchError,
    HostProgramMissingError,
    LoginRefusedError,
    SudoRefusedError,
)
from tests.support.interference import Injection
from tests.workflows.harness import Harness
from tests.workflows.pools import REGION, keep_pool
from tests.workflows.reconciler import AT_ONCE, MOMENT, POLICY, Reconciler, kinds, left_alone
from tests.workflows.rollout.histories import histories

pytestmark = pytest.mark.attack("a wrong client key, secret or sudo rule of our own")

ERRORS = (HostKeyMismatchError, LoginRefusedError, SudoRefusedError, HostProgramMissingError)
VERIFY_ALL = POLICY.model_copy(update={"proof_lasts": MOMENT})

locked_out_by = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.kind)


def statuses(harness: Harness, route_ids: list[str]) -> Counter[RouteStatus]:
    return Counter(harness.route(route_id).status for route_id in route_ids)


def in_pool(harness: Harness) -> Counter[PoolStatus]:
    return Counter(each.status for each in harness.store.pool.list())


def age_pool_proofs(reconciler: Reconciler) -> None:
    reconciler.execute_sql("UPDATE pool_machines SET proven_at = '2026-01-01 00:00:00.000000'")


@locked_out_by
async def test_a_key_that_is_wrong_everywhere_is_one_incident_and_heals_in_one_run(
    harness, reconciler, route_ids, error
):
    pool = [await harness.pool_machine(), await harness.pool_machine()]
    harness.store.pool_sizes.set("fake", REGION, 2, harness.operation())
    created = list(harness.cloud.created)
    age_pool_proofs(reconciler)
    harness.hosts.all_locked_out = error
    reconciler.policy = VERIFY_ALL
    assert (await reconciler.run()).faulted == 4
    for _ in range(3):
        done = await reconciler.run()
        assert set(kinds(done)) <= {ActionKind.VERIFY, ActionKind.POOL}
    incident = harness.store.breaker.get().incident
    assert incident is not None
    assert incident.locks_out
    assert error.kind in incident.summary
    assert "fleet: 6 of 6 machines answer, but lock the control plane out" in incident.summary
    assert "RELIGHT_SSH__CLIENT_KEY" in incident.to_do
    assert "RELIGHT_SSH__HOST_KEY_SECRET" in incident.to_do
    assert in_pool(harness) == {PoolStatus.FAULTED: 2}
    assert len(harness.events(kind="breaker-opened")) == 1
    assert harness.events(kind="machine-destroyed") == []
    assert harness.cloud.created == created

    harness.hosts.all_locked_out = None
    reconciler.policy = POLICY
    await reconciler.run()
    assert statuses(harness, route_ids) == {RouteStatus.SERVING: 4}
    assert in_pool(harness) == {PoolStatus.READY: 2}
    assert sorted(each.key for each in harness.store.pool.list()) == pool
    assert harness.events(kind="machine-destroyed") == []
    assert harness.cloud.created == created
    await reconciler.run()
    assert not (await reconciler.run()).observed.breaker.is_open


@locked_out_by
async def test_the_pool_alone_finds_out_that_a_key_is_wrong_and_destroys_nothing(
    harness, reconciler, error
):
    keys = [await harness.pool_machine() for _ in range(3)]
    age_pool_proofs(reconciler)
    harness.hosts.all_locked_out = error
    for _ in range(3):
        kept = await keep_pool(harness, 3)
        assert kept.done == ()
    assert in_pool(harness) == {PoolStatus.FAULTED: 3}
    assert await harness.machine_keys() == keys
    harness.hosts.all_locked_out = None
    assert (await keep_pool(harness)).done == tuple(f"verify {key}" for key in keys)
    assert in_pool(harness) == {PoolStatus.READY: 3}


async def test_more_machines_than_one_run_verifies_are_proven_in_one_run(
    harness, reconciler, route_ids
):
    route_ids = [*route_ids, *[await harness.serving_route() for _ in range(8)]]
    harness.hosts.all_locked_out = LoginRefusedError
    reconciler.policy = VERIFY_ALL
    assert (await reconciler.run()).faulted == 12
    reconciler.policy = POLICY.model_copy(update={"max_verifications": 2})
    done = await reconciler.run()
    assert (done.faulted, done.proven) == (2, 0)
    harness.hosts.all_locked_out = None
    assert (await reconciler.run()).proven == 12
    assert statuses(harness, route_ids) == {RouteStatus.SERVING: 12}


@pytest.mark.parametrize("error", [LoginRefusedError, SudoRefusedError], ids=lambda each: each.kind)
async def test_of_machines_that_were_just_proven_one_that_locks_us_out_is_not_replaced(
    harness, reconciler, route_ids, error
):
    """The others were reached a moment ago, and then the key was revoked on all of them."""
    created = list(harness.cloud.created)
    harness.hosts.locked_out = dict.fromkeys(created, error)
    reconciler.execute_sql(
        "UPDATE routes SET proven_at = '2026-01-01 00:00:00.000000' "
        f"WHERE route_id = '{route_ids[0]}'"
    )
    reconciler.policy = POLICY.model_copy(
        update={
            "replacement": ReplacementPolicy(
                verify_after=AT_ONCE, unreachable_observations=2, unreachable_for=MOMENT
            )
        }
    )
    for _ in range(5):
        await reconciler.run()
    assert harness.cloud.created == created
    assert harness.events(kind="machine-destroyed") == []
    assert harness.store.breaker.get().is_open


async def test_another_host_key_on_one_host_is_left_to_a_person(harness, reconciler, route_ids):
    harness.hosts.locked_out = {f"{route_ids[0]}-g1": HostKeyMismatchError}
    reconciler.policy = VERIFY_ALL
    assert (await reconciler.run()).faulted == 1
    created = list(harness.cloud.created)
    done = await reconciler.run()
    assert not done.observed.breaker.is_open
    assert "a person has to check the host" in left_alone(done)[f"route {route_ids[0]}"]
    assert {each.route_id for each in done.observed.plan.actions} == set(route_ids[1:])
    assert harness.cloud.created == created


async def test_another_host_key_on_one_pool_machine_is_left_to_a_person(
    harness, reconciler, route_ids
):
    key = await harness.pool_machine()
    age_pool_proofs(reconciler)
    harness.hosts.locked_out = {key: HostKeyMismatchError}
    for _ in range(2):
        await keep_pool(harness, 1)
    assert key in await harness.machine_keys()
    assert in_pool(harness) == {PoolStatus.FAULTED: 1, PoolStatus.READY: 1}


@locked_out_by
async def test_a_rollout_is_held_while_a_key_is_wrong_and_blames_no_release(
    harness, reconciler, route_ids, error
):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), max_concurrent=1)
    await gate.reached()
    harness.hosts.all_locked_out = error
    gate.open()
    await harness.until_status(rollout, lambda each: "lock the control plane out" in each.detail)
    assert harness.status(rollout).phase is RolloutPhase.HOLDING
    harness.hosts.all_locked_out = None
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert set(harness.current_tags(route_ids)) == {"v0.0.74"}
    assert harness.events(kind="machine-destroyed") == []


async def test_one_host_that_locks_us_out_fails_in_a_rollout(harness, reconciler, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=1, failure_budget=1
    )
    await gate.reached()
    waiting = [each for each in route_ids if harness.route(each).target_release_tag == "v0.0.73"]
    harness.hosts.locked_out = {f"{waiting[0]}-g1": LoginRefusedError}
    gate.open()
    ended = await rollout.result()
    assert (ended.phase, ended.count(RouteProgress.FAILED)) == (RolloutPhase.CONVERGED, 1)
    assert harness.store.breaker.get().incident is None


async def test_a_question_that_cannot_be_answered_keeps_the_fault_of_the_route(
    harness, reconciler, route_ids
):
    first = route_ids[0]
    harness.hosts.locked_out = {f"{first}-g1": LoginRefusedError}
    harness.interference.inject(Injection.FAILS_BEFORE, "evaluate_breaker", "rollout/v0.0.74/fleet")
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), failure_budget=1)
    ended = await rollout.result()
    [failed] = [each for each in ended.routes if each.progress is RouteProgress.FAILED]
    assert failed.fault is not None
    assert (failed.route_id, failed.fault.kind) == (first, "login-refused")
    assert harness.interference.pending == []


async def test_routes_that_fail_at_once_ask_together_whether_the_key_is_wrong(
    harness, reconciler, route_ids
):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), max_concurrent=4)
    await gate.reached()
    harness.hosts.all_locked_out = LoginRefusedError
    gate.open()
    await harness.until_status(rollout, lambda each: "lock the control plane out" in each.detail)
    harness.hosts.all_locked_out = None
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    runs = (await histories(harness.client, rollout))[rollout.id]
    asked, running = set(), 0
    for event in (each for run in runs for each in run):
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == "evaluate_breaker":
            asked.add(event.event_id)
            running += 1
        running -= event.activity_task_completed_event_attributes.scheduled_event_id in asked
        assert running <= 1
    assert asked
