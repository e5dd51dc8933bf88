"""Holds of every kind are kept until they are removed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlmodel import select

from relight.domain.hold import Hold, HoldKind, Selector
from relight.store.database import Database, parse_url
from relight.store.errors import (
    UnknownRouteError,
    UnknownTrackError,
)
from relight.store.holds import Holds
from relight.store.store import Store
from relight.store.tables import RolloutRouteRow
from tests.store.fleets import (
    FAULT,
    MANUAL,
    ORIGIN,
    rollout_run,
    serve,
)
from tests.store.sql import execute, naming

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
LAB = Selector(provider="lab")
KINDS = pytest.mark.parametrize("kind", HoldKind)


def hold(
    kind: HoldKind, covers: Selector = LAB, reason: str = "elections", pinned_to: str | None = None
) -> Hold:
    return Hold(
        kind=kind,
        covers=covers,
        starts_at=NOON,
        ends_at=NOON + timedelta(hours=4),
        owner="ann",
        reason=reason,
        pinned_to=pinned_to,
    )


def holds_of(store: Store, kind: HoldKind) -> Holds:
    return {
        HoldKind.FREEZE: store.freezes,
        HoldKind.EXCLUSION: store.exclusions,
        HoldKind.BREAKER_OVERRIDE: store.breaker_overrides,
    }[kind]


@KINDS
def test_a_hold_is_kept_until_it_is_removed(store, kind):
    holds, given = holds_of(store, kind), hold(kind)
    record = holds.add(given, MANUAL)
    assert holds.list() == [record]
    assert Hold.model_validate(record.model_dump()) == given
    assert holds.remove(record.hold_id, MANUAL) is True
    assert holds.remove(record.hold_id, MANUAL) is False
    assert holds.list() == []
    assert holds.add(given, MANUAL).hold_id > record.hold_id


def test_each_kind_lists_and_removes_its_own(store):
    records = {kind: holds_of(store, kind).add(hold(kind), MANUAL) for kind in HoldKind}
    assert len({record.hold_id for record in records.values()}) == len(HoldKind)
    for kind, record in records.items():
        assert holds_of(store, kind).list() == [record]
        others = [each for each in HoldKind if each is not kind]
        assert not any(holds_of(store, each).remove(record.hold_id, MANUAL) for each in others)


@KINDS
def test_each_event_has_requester_reason_and_hold(store, kind):
    holds = holds_of(store, kind)
    record = holds.add(hold(kind), MANUAL)
    holds.remove(record.hold_id, MANUAL)
    added, removed = store.events.list()[-2:]
    assert [added.kind, removed.kind] == [f"{kind}-added", f"{kind}-removed"]
    assert {(event.requested_by, event.reason) for event in (added, removed)} == {
        (ORIGIN.requested_by, ORIGIN.reason)
    }
    assert added.detail["hold"] == record.model_dump(mode="json")
    assert removed.detail["hold"]["owner"] == "ann"


def test_a_pin_keeps_its_route_and_release(store):
    serve(store)
    pin = hold(HoldKind.EXCLUSION, Selector(route_id="r-1"), pinned_to="v0.0.73")
    assert store.exclusions.add(pin, MANUAL).pinned_to == "v0.0.73"
    [event] = store.events.list(kind="exclusion-added")
    assert (event.route_id, event.release_tag) == ("r-1", "v0.0.73")


def test_an_instant_of_another_time_zone_is_kept(store):
    east = timezone(timedelta(hours=8))
    window = hold(HoldKind.FREEZE)
    window = window.model_copy(update={"ends_at": datetime(2026, 12, 24, 22, tzinfo=east)})
    store.freezes.add(window, MANUAL)
    [record] = store.freezes.list()
    assert record.ends_at == window.ends_at
    assert record.ends_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("kind", "covers", "error"),
    [
        (HoldKind.FREEZE, Selector(route_id="unknown-1"), UnknownRouteError),
        (HoldKind.EXCLUSION, Selector(route_id="unknown-1"), UnknownRouteError),
        *((kind, Selector(track="unknown"), UnknownTrackError) for kind in HoldKind),
    ],
)
def test_a_selector_with_an_unknown_route_or_track_is_refused(store, kind, covers, error):
    before = store.events.list()
    with pytest.raises(error, match="unknown"):
        holds_of(store, kind).add(hold(kind, covers), MANUAL)
    assert holds_of(store, kind).list() == []
    assert store.events.list() == before


@KINDS
def test_retries_write_once(store, kind):
    holds, run = holds_of(store, kind), rollout_run()
    adding, removing = run.activity(), run.activity()
    first, second = (holds.add(hold(kind), adding) for _ in range(2))
    assert first == second
    assert holds.list() == [first]
    assert [holds.remove(first.hold_id, removing) for _ in range(2)] == [True] * 2
    assert len(store.events.list(workflow_id=run.workflow_id)) == 2


def test_holds_are_listed_oldest_first_and_those_that_ended_do_not_stand(store):
    for reason in ("one", "two", "three"):
        store.freezes.add(hold(HoldKind.FREEZE, reason=reason), MANUAL)
    assert [each.reason for each in store.freezes.list()] == ["one", "two", "three"]
    ends_at = NOON + timedelta(hours=4)
    assert len(store.freezes.standing(NOON - timedelta(days=1))) == 3  # Upcoming ones, too.
    assert len(store.freezes.standing(ends_at - timedelta(seconds=1))) == 3
    assert store.freezes.standing(ends_at) == []


@KINDS
def test_an_invalid_hold_is_named_and_can_be_removed(store, store_url, kind):
    holds = holds_of(store, kind)
    record = holds.add(hold(kind), MANUAL)
    execute(store_url, "UPDATE holds SET owner = ''")
    with naming(f"{kind} {record.hold_id}: owner"):
        holds.list()
    assert holds.remove(record.hold_id, MANUAL)
    assert holds.list() == []


def test_the_routes_of_a_rollout_may_be_unknown(store, store_url):
    row = RolloutRouteRow(
        rollout_run_id="run",
        route_id="gone-1",
        wave=1,
        position=0,
        progress="failed",
        fault=FAULT.model_dump(mode="json"),
    )
    database = Database(parse_url(store_url))
    with database.writing() as session:
        session.add(row)
    with database.reading() as session:
        [kept] = session.exec(select(RolloutRouteRow))
        assert (kept.wave, kept.previous_release_tag) == (1, None)
        assert kept.fault == FAULT.model_dump(mode="json")
    database.close()
