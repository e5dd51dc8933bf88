"""The gate on a whole installation, with the limits that ship: who works is not destroyed."""

from datetime import timedelta

import pytest

from devkit.chaos.provider_faults import Call
from relight.breaker_evaluation import BreakerEvaluation
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.destruction import (
    DestructionReason,
    RefusedBy,
)
from relight.domain.fault.table import RULES, fault
from relight.hosts.errors import HostKeyMismatchError, LoginRefusedError
from tests.store.fleets import run_on
from tests.store.pools import PROOF
from tests.store.sql import execute
from tests.workflows.gates import drained
from tests.workflows.unrecorded import unrecorded_machine

pytestmark = pytest.mark.attack("every destroyer, with the limits that ship")

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
AUTOMATIC = [each for each in DestructionReason if each is not DestructionReason.REQUESTED]


async def is_destroyed_as_silent(gate, key):
    """Ask the gate once the breaker knows enough of the machine's region."""
    for _ in range(6):
        await gate.harness.serving_route()
    assert await gate.refused_by(key, DestructionReason.UNREACHABLE) is None
    assert gate.harness.cloud.read(key) is None


@pytest.mark.parametrize("reason", AUTOMATIC)
async def test_a_machine_that_answers_is_destroyed_by_nobody(gate, reason):
    key = await drained(gate)
    for minutes in (0, 11, 600):
        gate.clock.jump(minutes * MINUTE)
        assert await gate.refused_by(key, reason, created_by="a-run") is RefusedBy.ANSWERS
    assert Call.DESTROY not in gate.harness.cloud.provider_faults.calls
    # It is told once a day, with the command that removes the machine.
    told = gate.harness.events(kind="destruction-refused")
    assert [event.machine_key for event in told] == [key]
    assert f"relight machine remove {key}" in str(told[0].detail["why"])


async def test_a_machine_whose_replacement_a_person_requested_is_destroyed(gate):
    key = await drained(gate, requested=True)
    assert await gate.refused_by(key, DestructionReason.REQUESTED) is None
    kinds = [event.kind for event in gate.harness.events() if event.machine_key == key][-2:]
    assert kinds == ["destruction-begun", "machine-destroyed"]
    assert gate.harness.cloud.read(key) is None


async def test_a_word_counts_for_a_machine_that_was_planned_while_a_clock_was_ahead(gate, tmp_path):
    key = await drained(gate, requested=True)
    planned = f"UPDATE machines SET created_at = '2096-01-01 00:00:00.000000' WHERE key = '{key}'"
    execute(f"sqlite:///{tmp_path / 'fleet.db'}", planned)
    assert await gate.refused_by(key, DestructionReason.REQUESTED) is None


async def test_a_request_that_nobody_made_is_none(gate):
    key = await drained(gate)
    assert await gate.refused_by(key, DestructionReason.REQUESTED) is RefusedBy.ANSWERS


async def test_a_machine_that_stays_silent_is_destroyed_once_that_has_lasted(gate):
    key = await drained(gate, unreachable=True)
    gate.harness.hosts.unreachable = {key}
    gate.clock.jump(11 * MINUTE)
    assert await gate.refused_by(key, DestructionReason.UNREACHABLE) is RefusedBy.EVIDENCE
    gate.clock.jump(9 * MINUTE)
    assert await gate.refused_by(key, DestructionReason.UNREACHABLE) is RefusedBy.EVIDENCE
    # One answer in between, and it begins again.
    gate.harness.hosts.unreachable = set()
    assert await gate.refused_by(key, DestructionReason.UNREACHABLE) is RefusedBy.ANSWERS
    gate.harness.hosts.unreachable = {key}
    gate.clock.jump(2 * MINUTE)
    assert await gate.refused_by(key, DestructionReason.UNREACHABLE) is RefusedBy.EVIDENCE
    gate.clock.jump(11 * MINUTE)
    await is_destroyed_as_silent(gate, key)


async def test_a_pool_machine_that_is_needed_since_it_was_asked_is_kept(gate):
    """A pool of one: while the aged machine is asked, a replacement claims the other one."""
    harness = gate.harness
    aged, ready = await harness.pool_machine(), await harness.pool_machine()
    harness.store.pool_sizes.set("fake", "fake-east", 1, harness.operation())
    route_id = await harness.serving_route()
    claimed = run_on(route_id).activity()
    gate.hosts.meanwhile = lambda: harness.store.pool.claim(
        route_id, "v0.0.73", claimed, lambda *_: (ready,)
    )
    assert await gate.refused_by(aged, DestructionReason.RECYCLED) is RefusedBy.ANSWERS
    assert Call.DESTROY not in harness.cloud.provider_faults.calls
    assert [each.key for each in harness.store.pool.list()] == [aged]


async def test_a_machine_that_serves_since_it_was_asked_is_kept(gate):
    harness = gate.harness
    aged, _ = await harness.pool_machine(), await harness.pool_machine()
    harness.store.pool_sizes.set("fake", "fake-east", 1, harness.operation())
    route_id = await harness.serving_route()
    run, observed = run_on(route_id), harness.store.machines.last_observed(aged)
    assert observed is not None
    claimed, attached = run.activity(), run.activity()

    def claim() -> None:
        harness.store.pool.claim(route_id, "v0.0.73", claimed, lambda *_: (aged,))
        harness.store.replacements.attach(route_id, observed, PROOF, attached)

    gate.hosts.meanwhile = claim
    assert await gate.refused_by(aged, DestructionReason.RECYCLED) is RefusedBy.SERVES
    assert Call.DESTROY not in harness.cloud.provider_faults.calls


async def test_a_surplus_that_began_while_a_machine_was_asked_does_not_count_yet(gate):
    """What contradicts it was not looked for: the next attempt does."""
    harness = gate.harness
    aged, other = await harness.pool_machine(), await harness.pool_machine()
    harness.store.pool_sizes.set("fake", "fake-east", 1, harness.operation())
    proven = harness.store.machines.last_observed(other)
    assert proven is not None
    harness.store.pool.mark_preparing(other, harness.operation())
    gate.hosts.meanwhile = lambda: harness.store.pool.record_ready(
        other, proven, PROOF, harness.operation()
    )
    assert await gate.refused_by(aged, DestructionReason.RECYCLED) is RefusedBy.ANSWERS
    assert await gate.refused_by(aged, DestructionReason.RECYCLED) is None


async def test_faults_that_a_clock_dated_ahead_keep_no_silent_machine(gate):
    key = await drained(gate, unreachable=True)
    gate.harness.hosts.unreachable = {key}
    gate.clock.jump(DAY)
    assert await gate.refused_by(key, DestructionReason.UNREACHABLE) is RefusedBy.EVIDENCE
    gate.clock.jump(11 * MINUTE - DAY)
    assert await gate.refused_by(key, DestructionReason.UNREACHABLE) is RefusedBy.EVIDENCE
    gate.clock.jump(11 * MINUTE)
    await is_destroyed_as_silent(gate, key)


@pytest.mark.parametrize("refusal", [LoginRefusedError, HostKeyMismatchError])
async def test_a_fault_of_our_own_keys_destroys_nothing(gate, refusal):
    routes = [await gate.harness.serving_route() for _ in range(3)]
    pool = [await gate.harness.pool_machine() for _ in range(2)]
    old = await drained(gate)
    gate.hosts.everywhere = refusal
    for minutes in (0, 11, 60):
        gate.clock.jump(minutes * MINUTE)
        for key in (*(f"{each}-g1" for each in routes), *pool, old):
            for reason in AUTOMATIC:
                assert await gate.refused_by(key, reason) is not None
    assert Call.DESTROY not in gate.harness.cloud.provider_faults.calls


async def test_one_machine_that_refuses_a_login_which_others_accept_is_at_fault_itself(gate):
    key = await drained(gate)
    for _ in range(6):
        await gate.harness.serving_route()
    gate.hosts.refusals = {key: LoginRefusedError}
    gate.clock.jump(11 * MINUTE)
    assert await gate.refused_by(key, DestructionReason.FAULTY) is RefusedBy.EVIDENCE
    gate.clock.jump(11 * MINUTE)
    assert await gate.refused_by(key, DestructionReason.FAULTY) is None


async def test_an_orphan_that_works_is_left_to_a_person_whose_word_removes_it(gate):
    await gate.live_machine("nobody-g3")
    assert await gate.refused_by("nobody-g3", DestructionReason.ORPHAN) is RefusedBy.ANSWERS
    gate.harness.store.destruction_evidence.request_removal("nobody-g3", gate.harness.operation())
    assert await gate.refused_by("nobody-g3", DestructionReason.REQUESTED) is None
    assert gate.harness.cloud.read("nobody-g3") is None
    [event] = gate.harness.events(kind="machine-destroyed")
    assert (event.machine_key, event.detail["cause"]) == ("nobody-g3", "requested")


async def test_the_breaker_is_evaluated_when_a_machine_is_to_be_destroyed(gate):
    """A region is cut off: no run has evaluated the breaker since, and the word is still known."""
    harness = gate.harness
    key = await drained(gate, requested=True, unreachable=True)
    routes = [await harness.serving_route() for _ in range(3)]
    for route_id in routes:
        gate.record_fault(route_id, "host-unreachable", f"{route_id}-g1")
    assert harness.store.breaker.get().incident is None
    assert await gate.refused_by(key, DestructionReason.REQUESTED) is RefusedBy.BREAKER
    assert harness.store.breaker.get().is_open
    assert [event.kind for event in harness.events(kind="breaker-opened")] == ["breaker-opened"]


async def test_offline_the_gate_is_shut_for_every_destroyer(gate):
    key = await drained(gate, requested=True)
    gate.harness.parts.connectivity[0].reached = False
    for reason in DestructionReason:
        assert await gate.refused_by(key, reason) is RefusedBy.BREAKER


async def test_the_hourly_limits_that_ship_hold_for_all_destroyers_together(gate):
    """Two in a region and ten in all: undo, pool, sweep and operators count alike."""
    made: list[tuple[str, str]] = []
    for number in range(13):
        cloud = gate.harness.cell().cloud.name if number % 2 == 0 else made[-1][0]
        key = f"undone-{number}-g1"
        region = "fake-east" if number % 2 else "fake-west"
        await unrecorded_machine(
            gate.harness, key, created_by="a-run", provider=cloud, region=region
        )
        made.append((cloud, key))
    ended = [
        await gate.refused_by(key, DestructionReason.UNDONE, provider=cloud, created_by="a-run")
        for cloud, key in made
    ]
    assert ended == [None] * 10 + [RefusedBy.LIMIT] * 3
    gate.clock.jump(61 * MINUTE)
    cloud, key = made[-1]
    again = await gate.refused_by(key, DestructionReason.UNDONE, provider=cloud, created_by="a-run")
    assert again is None


async def test_the_third_destruction_in_a_region_waits_whoever_asks(gate):
    for number in range(2):
        key = f"undone-{number}-g1"
        await gate.live_machine(key, created_by="a-run")
        assert await gate.refused_by(key, DestructionReason.UNDONE, created_by="a-run") is None
    await gate.harness.pool_machine()
    pool = await gate.harness.pool_machine()
    gate.harness.store.pool_sizes.set("fake", "fake-east", 1, gate.harness.operation())
    assert await gate.refused_by(pool, DestructionReason.RECYCLED) is RefusedBy.LIMIT
    key = await drained(gate, requested=True)
    assert await gate.refused_by(key, DestructionReason.REQUESTED) is RefusedBy.LIMIT
    gate.clock.jump(61 * MINUTE)
    assert await gate.refused_by(pool, DestructionReason.RECYCLED) is None


async def test_a_machine_that_its_own_run_has_created_is_told_by_the_provider(gate):
    await gate.live_machine("r-x-g1", created_by="the-run")
    # Another run finds the machine: the driver adopts it, and it keeps who has created it.
    await gate.live_machine("r-x-g1", created_by="another-run")
    reason = DestructionReason.UNDONE
    assert await gate.refused_by("r-x-g1", reason, created_by="another-run") is RefusedBy.ANSWERS
    assert await gate.refused_by("r-x-g1", reason, created_by="the-run") is None


async def test_after_all_faults_a_machine_that_works_again_is_kept(gate):
    key = await drained(gate)
    for kind in sorted(RULES):
        gate.record_fault(key.removesuffix("-g1"), kind, key)
    gate.clock.jump(11 * MINUTE)
    for reason in AUTOMATIC:
        assert await gate.refused_by(key, reason, created_by="a-run") is RefusedBy.ANSWERS


async def test_a_dead_pool_machine_counts_once_while_it_is_destroyed(gate):
    """One of seven is its own fault. Two of eight would open the breaker for all."""
    harness = gate.harness
    key = await harness.pool_machine()
    harness.hosts.unreachable = {key}
    gate.clock.jump(11 * MINUTE)
    silent = fault("host-unreachable", "seen in a test")
    harness.store.pool.record_fault(key, silent, harness.operation())
    harness.store.pool.mark_leaving(key, harness.operation())
    gate.clock.jump(11 * MINUTE)
    for _ in range(6):
        await harness.serving_route()
    evaluation = BreakerEvaluation(harness.store, BreakerLimits(), timedelta(hours=24))
    seen: list[bool] = []

    def evaluate() -> None:
        assert [each.key for each in harness.store.pool.list()] == [key]
        seen.append(evaluation.evaluate(harness.operation()).is_open)

    gate.while_destroyed = evaluate
    refused = await gate.refused_by(key, DestructionReason.UNREACHABLE, unreachable=True)
    assert (refused, set(seen)) == (None, {False})
    assert not evaluation.evaluate(None).is_open
    assert harness.events(kind="breaker-opened") == []


async def test_status_says_what_the_gate_and_a_run_say(gate):
    """One computation: what is recorded since is in the word that `breaker status` prints."""
    harness = gate.harness
    routes = [await harness.serving_route() for _ in range(4)]
    evaluation = BreakerEvaluation(harness.store, BreakerLimits(), timedelta(hours=24))
    assert not evaluation.evaluate(None).is_open
    for route_id in routes[:2]:
        gate.record_fault(route_id, "host-unreachable", f"{route_id}-g1")
    assert evaluation.evaluate(None).is_open
    assert harness.store.breaker.get().incident is None
    saved = evaluation.evaluate(harness.operation())
    assert saved.is_open
    assert harness.store.breaker.get() == saved
