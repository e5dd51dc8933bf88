"""A clock that was ahead for a while, ours or another worker's: what it wrote does not count."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.breaker.breaker import ConnectivityResult
from relight.domain.fault.table import fault
from relight.domain.hold import Hold, HoldKind, Selector
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from tests.store.fleets import MANUAL, failing, machine, proving, replace_machine, run_on, serve
from tests.store.pools import made_ready, pool_run

AHEAD = timedelta(days=1)
HOUR = timedelta(hours=1)
UNREACHABLE = fault("host-unreachable", "it is off")


class AnyDatetime(type):
    """Every datetime is one of the class: what reads the store checks types."""

    def __instancecheck__(cls, value):
        return isinstance(value, datetime)


@pytest.fixture
def clock(monkeypatch):
    """Return what sets the store's clock ahead by a duration."""
    shift = timedelta()

    class Clock(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + shift

    def set_ahead(by: timedelta) -> None:
        nonlocal shift
        shift = by

    for module in ("events", "permits", "destructions", "remediations", "breaker"):
        monkeypatch.setattr(f"relight.store.{module}.datetime", Clock)
    return set_ahead


def decide(store, **changes):
    now = datetime.now(UTC)
    history = store.remediations.histories(now - AHEAD)["r-1"].model_copy(update=changes)
    return decide_remediation(history, ReplacementPolicy(), now + HOUR).remediation


def test_faults_before_a_proof_do_not_count_whatever_the_clock_said(store, clock):
    """They were stamped a day later than the proof, and the clock has reached that time."""
    serve(store)
    clock(AHEAD)
    for _ in range(3):
        store.routes.record_fault(failing(fault=UNREACHABLE, key="r-1-g1"), run_on().activity())
    clock(timedelta())
    store.routes.record_proof(proving(at=datetime.now(UTC)), run_on().activity())
    assert decide(store) is Remediation.LEAVE_ALONE
    assert "r-1" not in {
        route_id
        for route_id, history in store.remediations.histories(datetime.now(UTC) - AHEAD).items()
        if history.faults
    }


def test_faults_of_a_pool_machine_before_its_proof_do_not_count_whatever_the_clock_said(
    store, clock
):
    key = made_ready(store)
    clock(AHEAD)
    store.pool.record_fault(key, UNREACHABLE, pool_run().activity())
    clock(timedelta())
    [faulted] = store.pool.list()
    assert [each.kind for each in faulted.faults] == [UNREACHABLE.kind]
    proof = proving(at=datetime.now(UTC)).proof
    store.pool.record_ready(key, machine(key), proof, pool_run().activity())
    [ready] = store.pool.list()
    assert ready.faults == ()
    store.pool.record_fault(key, UNREACHABLE, pool_run().activity())
    [faulted] = store.pool.list()
    assert [each.at <= datetime.now(UTC) for each in faulted.faults] == [True]


def test_a_fault_after_a_proof_of_the_future_counts(store, clock):
    """A machine that is off must not seem to be proven because of the wrong clock."""
    serve(store)
    store.routes.record_proof(proving(at=datetime.now(UTC) + AHEAD), run_on().activity())
    store.routes.record_fault(failing(fault=UNREACHABLE, key="r-1-g1"), run_on().activity())
    [history] = store.remediations.histories(datetime.now(UTC) - AHEAD).values()
    assert [each.kind for each in history.faults] == ["host-unreachable"]
    assert decide(store, proven_at=None) is Remediation.VERIFY


def test_a_repair_of_the_future_does_not_hold_up_the_next_one(store, clock):
    serve(store)
    clock(AHEAD)
    store.remediations.record_repair("r-1", MANUAL)
    clock(timedelta())
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    [history] = store.remediations.histories(datetime.now(UTC) - AHEAD).values()
    assert all(each <= datetime.now(UTC) for each in history.repairs)


def test_a_destruction_of_the_future_counts_until_an_hour_after_the_clock_was_right(store, clock):
    serve(store)
    clock(AHEAD)
    replace_machine(store)
    clock(timedelta())
    [destroyed] = store.destructions.list(datetime.now(UTC) - HOUR)
    assert destroyed.at <= datetime.now(UTC)
    store.events.append("noted", MANUAL)
    noted = store.events.list(kind="noted")[-1].at
    clock(HOUR / 2)
    [destroyed] = store.destructions.list(datetime.now(UTC) - HOUR)
    assert destroyed.at == noted


@pytest.mark.parametrize("kind", HoldKind)
def test_a_hold_of_the_future_restricts_and_permits_nothing(store, clock, kind):
    holds = {
        HoldKind.FREEZE: store.freezes,
        HoldKind.EXCLUSION: store.exclusions,
        HoldKind.BREAKER_OVERRIDE: store.breaker_overrides,
    }[kind]
    clock(AHEAD)
    begins = datetime.now(UTC) + AHEAD
    holds.add(
        Hold(
            kind=kind,
            covers=Selector(provider="lab"),
            starts_at=begins,
            ends_at=begins + 6 * HOUR,
            owner="ann",
            reason="a test",
        ),
        MANUAL,
    )
    clock(timedelta())
    now = datetime.now(UTC)
    counted = [each for each in holds.standing(now) if each.is_in_force(now)]
    assert len(counted) == (kind is not HoldKind.BREAKER_OVERRIDE)


def test_a_hold_that_was_given_for_a_later_time_begins_then(store):
    begins = datetime.now(UTC) + AHEAD
    store.freezes.add(
        Hold(
            kind=HoldKind.FREEZE,
            starts_at=begins,
            ends_at=begins + HOUR,
            owner="ann",
            reason="elections",
        ),
        MANUAL,
    )
    now = datetime.now(UTC)
    assert [each.is_in_force(now) for each in store.freezes.standing(now)] == [False]


def test_a_connectivity_result_of_the_future_is_replaced_by_the_next_one(store):
    def result(at: datetime, *, reached: bool) -> ConnectivityResult:
        return ConnectivityResult(name="mirror", observed_at=at, reached=reached)

    now = datetime.now(UTC)
    store.breaker.record_connectivity([result(now + AHEAD, reached=True)])
    store.breaker.record_connectivity([result(now, reached=False)])
    assert [each.reached for each in store.breaker.connectivity()] == [False]


def test_permits_that_were_leased_in_the_future_are_free(store, clock):
    """Their worker may be dead: they would be lost for as long as the clock was ahead."""
    lease = {"limit": 10, "used": 0, "lasts": timedelta(minutes=1)}
    clock(AHEAD)
    assert store.permits.lease("logins", "dead", wanted=8, **lease).count == 8
    clock(timedelta())
    assert store.permits.lease("logins", "a", wanted=10, **lease).count == 10


def test_a_machine_is_gone_since_now_if_it_was_gone_in_the_future(store):
    serve(store)
    now = datetime.now(UTC)
    store.remediations.record_gone_since("r-1", now + AHEAD)
    store.remediations.record_gone_since("r-1", now)
    [history] = store.remediations.histories(now).values()
    assert history.gone_since == now


def test_a_pool_machine_is_missing_since_the_first_listing_without_it(store):
    key, now = made_ready(store), datetime.now(UTC)
    for at in (now, now + HOUR):
        store.sweeps.record_pool_gone_since(key, at)
    [record] = store.sweeps.machines([])
    assert (record.in_pool, record.gone_since) == (True, now)
    store.sweeps.record_pool_gone_since(key, None)
    [record] = store.sweeps.machines([])
    assert record.gone_since is None
    assert machine(key).key == key
