"""The breaker's state is kept, and its opening and closing are events."""

from datetime import UTC, datetime, timedelta

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    ConnectivityResult,
    GroupReach,
)
from tests.store.fleets import MANUAL, Run
from tests.store.sql import execute, naming

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
REACH = GroupReach(group="region lab/east", machines=4, observed=4, unreachable=3)
INCIDENT = BreakerIncident(opened_at=NOON, last_observed_at=NOON, groups=(REACH,), summary="3 of 4")
OPEN = Breaker(incident=INCIDENT)


def becomes(state: Breaker):
    return lambda _before: state


def test_without_a_record_the_breaker_is_closed(store):
    assert store.breaker.get() == Breaker()


def test_each_state_is_read_back_and_only_opening_and_closing_are_events(store):
    run = Run("reconcile")
    later = OPEN.model_copy(update={"calm_since": NOON + timedelta(minutes=1)})
    unknown = Breaker(unknown=(REACH,))
    for state in (unknown, OPEN, OPEN, later, unknown, Breaker()):
        assert store.breaker.update(becomes(state), run.activity()) == state
        assert store.breaker.get() == state
    kinds = [event.kind for event in store.events.list() if event.kind.startswith("breaker")]
    assert kinds == ["breaker-opened", "breaker-closed"]
    [opened] = store.events.list(kind="breaker-opened")
    assert BreakerIncident.model_validate(opened.detail["incident"]) == INCIDENT


def test_an_update_starts_from_the_recorded_state(store):
    states: list[Breaker] = []
    activity = Run("reconcile").activity()
    for state in (OPEN, OPEN, Breaker(), OPEN):

        def decide(before: Breaker, state: Breaker = state) -> Breaker:
            states.append(before)
            return state

        store.breaker.update(decide, activity)
    assert states == [Breaker(), OPEN, OPEN, Breaker()]
    assert len(store.events.list(kind="breaker-opened")) == 2


def test_the_newest_result_of_each_connectivity_check_is_kept(store):
    first = ConnectivityResult(
        name="https://a.example", observed_at=NOON, reached=False, answer="no route"
    )
    other = ConnectivityResult(name="https://b.example", observed_at=NOON, reached=True)
    later = first.model_copy(update={"observed_at": NOON + timedelta(minutes=1), "reached": True})
    store.breaker.record_connectivity([other, first])
    store.breaker.record_connectivity([later])
    store.breaker.record_connectivity([first])  # older than what is recorded
    assert store.breaker.connectivity() == [later, other]


def test_an_invalid_value_is_named(store, store_url):
    store.breaker.update(becomes(OPEN), MANUAL)
    execute(store_url, """UPDATE breaker SET state = '{"incident": 1}'""")
    with naming("the breaker: incident"):
        assert store.breaker.get().incident is not None
