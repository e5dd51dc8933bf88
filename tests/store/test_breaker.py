"""The breaker stands where it was left, and says when it opened and closed."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    BreakerOverride,
    ConnectivityResult,
    GroupReach,
)
from relight.store.errors import BadValueError
from tests.store.fleets import HAND, Run
from tests.store.sql import execute

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
REACH = GroupReach(group="region lab/east", machines=4, observed=4, unreachable=3)
INCIDENT = BreakerIncident(opened_at=NOON, last_observed_at=NOON, groups=(REACH,), summary="3 of 4")
OPEN = Breaker(incident=INCIDENT)


def stand(state: Breaker):
    return lambda before: state


def override(expires_at: datetime = NOON, group: str = "region lab/east") -> BreakerOverride:
    return BreakerOverride(group=group, owner="ann", reason="it burnt down", expires_at=expires_at)


def test_one_that_was_never_turned_is_closed(store):
    assert store.breaker.get() == Breaker()


def test_it_is_read_back_as_it_stands_and_tells_of_its_opening_and_closing_alone(store):
    run = Run("reconcile")
    later = OPEN.model_copy(update={"calm_since": NOON + timedelta(minutes=1)})
    unknown = Breaker(unknown=(REACH,))
    for state in (unknown, OPEN, OPEN, later, unknown, Breaker()):
        assert store.breaker.turn(stand(state), run.activity()) == state
        assert store.breaker.get() == state
    kinds = [event.kind for event in store.events.list() if event.kind.startswith("breaker")]
    assert kinds == ["breaker-opened", "breaker-closed"]
    [opened] = store.events.list(kind="breaker-opened")
    assert BreakerIncident.model_validate(opened.detail["incident"]) == INCIDENT


def test_it_is_turned_from_where_it_stands(store):
    seen: list[Breaker] = []
    activity = Run("reconcile").activity()
    for state in (OPEN, OPEN, Breaker(), OPEN):

        def decide(before: Breaker, state: Breaker = state) -> Breaker:
            seen.append(before)
            return state

        store.breaker.turn(decide, activity)
    assert seen == [Breaker(), OPEN, OPEN, Breaker()]
    assert len(store.events.list(kind="breaker-opened")) == 2


def test_the_last_look_at_each_witness_is_kept(store):
    first = ConnectivityResult(
        name="https://a.example", observed_at=NOON, reached=False, said="no route"
    )
    other = ConnectivityResult(name="https://b.example", observed_at=NOON, reached=True)
    later = first.model_copy(update={"observed_at": NOON + timedelta(minutes=1), "reached": True})
    store.breaker.record_connectivity([other, first])
    store.breaker.record_connectivity([later])
    store.breaker.record_connectivity([first])  # it came late
    assert store.breaker.connectivity() == [later, other]


def test_an_override_is_read_back_until_it_is_removed(store):
    adding = Run("x").activity()
    record, again = (store.overrides.add(override(), adding) for _ in range(2))
    assert record == again
    assert store.overrides.list() == [record]
    assert BreakerOverride.model_validate(record.model_dump()) == override()
    assert store.overrides.remove(record.override_id, HAND)
    assert not store.overrides.remove(record.override_id, HAND)
    assert store.overrides.list() == []
    assert store.overrides.add(override(), HAND).override_id > record.override_id


def test_what_does_not_hold_any_more_is_taken_away_together(store):
    for _ in range(2):
        store.overrides.add(override(), HAND)
    kept = store.overrides.add(override(NOON + timedelta(seconds=1)), HAND)
    assert store.overrides.expire(NOON, HAND) == 2
    assert store.overrides.expire(NOON, HAND) == 0
    assert store.overrides.list() == [kept]
    [event] = store.events.list(kind="breaker-override-expired")
    assert len(event.detail["overrides"]) == 2


def test_what_was_spoilt_by_hand_is_named(store, store_url):
    store.breaker.turn(stand(OPEN), HAND)
    record = store.overrides.add(override(), HAND)
    execute(store_url, "UPDATE breaker_overrides SET owner = ''")
    execute(store_url, """UPDATE breaker SET state = '{"incident": 1}'""")
    with pytest.raises(BadValueError, match="the breaker: incident"):
        store.breaker.get()
    with pytest.raises(BadValueError, match=f"override {record.override_id}: owner"):
        store.overrides.list()
    assert store.overrides.remove(record.override_id, HAND)
