"""Freeze windows, exclusions and pins are kept until they are removed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlmodel import select

from relight.domain.hold import (
    Exclusion,
    FreezeWindow,
    Selector,
)
from relight.store.database import Database, parse_url
from relight.store.errors import (
    BadValueError,
    UnknownRouteError,
    UnknownTrackError,
)
from relight.store.tables import RolloutRouteRow
from tests.store.fleets import (
    FAULT,
    MANUAL,
    ORIGIN,
    rollout_run,
    serve,
)
from tests.store.sql import execute

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)


def freeze(covers: Selector | None = None, reason: str = "elections") -> FreezeWindow:
    return FreezeWindow(
        starts_at=NOON,
        ends_at=NOON + timedelta(hours=4),
        owner="ann",
        reason=reason,
        covers=covers or Selector(),
    )


def exclusion(covers: Selector, pinned_to: str | None = None) -> Exclusion:
    return Exclusion(
        covers=covers, owner="bob", reason="debugged", expires_at=NOON, pinned_to=pinned_to
    )


def test_a_freeze_window_is_kept_until_it_is_removed(store):
    given = freeze(Selector(provider="lab", track="stable"))
    record = store.freezes.add(given, MANUAL)
    assert store.freezes.list() == [record]
    assert FreezeWindow.model_validate(record.model_dump()) == given
    assert store.freezes.remove(record.freeze_id, MANUAL) is True
    assert store.freezes.remove(record.freeze_id, MANUAL) is False
    assert store.freezes.list() == []


def test_an_exclusion_is_kept_until_it_is_removed(store):
    serve(store)
    given = exclusion(Selector(route_id="r-1"), pinned_to="v0.0.73")
    record = store.exclusions.add(given, MANUAL)
    assert store.exclusions.list() == [record]
    assert Exclusion.model_validate(record.model_dump()) == given
    assert store.exclusions.remove(record.exclusion_id, MANUAL) is True
    assert store.exclusions.remove(record.exclusion_id, MANUAL) is False
    assert store.exclusions.list() == []


def test_each_event_has_requester_reason_and_hold(store):
    serve(store)
    pin = store.exclusions.add(exclusion(Selector(route_id="r-1"), "v0.0.73"), MANUAL)
    window = store.freezes.add(freeze(), MANUAL)
    store.exclusions.remove(pin.exclusion_id, MANUAL)
    store.freezes.remove(window.freeze_id, MANUAL)
    added, frozen, freed, thawed = store.events.list()[-4:]
    assert [event.kind for event in (added, frozen, freed, thawed)] == [
        "exclusion-added",
        "freeze-added",
        "exclusion-removed",
        "freeze-removed",
    ]
    assert {(event.requested_by, event.reason) for event in (added, frozen, freed, thawed)} == {
        (ORIGIN.requested_by, ORIGIN.reason)
    }
    assert (added.route_id, added.release_tag) == ("r-1", "v0.0.73")
    assert frozen.detail["freeze"] == window.model_dump(mode="json")
    for event in (freed, thawed):
        [removed] = event.detail.values()
        assert removed["owner"] in {"ann", "bob"}


def test_an_instant_of_another_time_zone_is_kept(store):
    east = timezone(timedelta(hours=8))
    window = freeze().model_copy(update={"ends_at": datetime(2026, 12, 24, 22, tzinfo=east)})
    store.freezes.add(window, MANUAL)
    [record] = store.freezes.list()
    assert record.ends_at == window.ends_at
    assert record.ends_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("covers", "error"),
    [
        (Selector(route_id="unknown-1"), UnknownRouteError),
        (Selector(track="unknown"), UnknownTrackError),
    ],
)
def test_a_selector_with_an_unknown_route_or_track_is_refused(store, covers, error):
    before = store.events.list()
    with pytest.raises(error, match="unknown"):
        store.freezes.add(freeze(covers), MANUAL)
    with pytest.raises(error, match="unknown"):
        store.exclusions.add(exclusion(covers), MANUAL)
    assert (store.freezes.list(), store.exclusions.list()) == ([], [])
    assert store.events.list() == before


def test_retries_write_once(store):
    run = rollout_run()
    adding, excluding, removing, including = (run.activity() for _ in range(4))
    first, second = (store.freezes.add(freeze(), adding) for _ in range(2))
    third, fourth = (
        store.exclusions.add(exclusion(Selector(provider="lab")), excluding) for _ in range(2)
    )
    assert (first, third) == (second, fourth)
    assert (store.freezes.list(), store.exclusions.list()) == ([first], [third])
    assert [store.freezes.remove(first.freeze_id, removing) for _ in range(2)] == [True] * 2
    assert [store.exclusions.remove(third.exclusion_id, including) for _ in range(2)] == [True] * 2
    assert len(store.events.list(workflow_id=run.workflow_id)) == 4


def test_ids_are_never_reused(store):
    for add, remove in (
        (lambda: store.freezes.add(freeze(), MANUAL).freeze_id, store.freezes.remove),
        (
            lambda: store.exclusions.add(exclusion(Selector(provider="lab")), MANUAL).exclusion_id,
            store.exclusions.remove,
        ),
    ):
        removed = add()
        remove(removed, MANUAL)
        assert add() > removed


def test_freeze_windows_are_listed_oldest_first(store):
    for reason in ("one", "two", "three"):
        store.freezes.add(freeze(reason=reason), MANUAL)
    assert [each.reason for each in store.freezes.list()] == ["one", "two", "three"]


def test_an_invalid_hold_is_named_and_can_be_removed(store, store_url):
    window = store.freezes.add(freeze(), MANUAL)
    pin = store.exclusions.add(exclusion(Selector(provider="lab")), MANUAL)
    execute(store_url, "UPDATE freezes SET owner = ''")
    execute(store_url, "UPDATE exclusions SET provider = NULL")
    with pytest.raises(BadValueError, match=f"freeze window {window.freeze_id}: owner"):
        store.freezes.list()
    with pytest.raises(BadValueError, match=f"exclusion {pin.exclusion_id}.*names a route"):
        store.exclusions.list()
    assert store.freezes.remove(window.freeze_id, MANUAL)
    assert store.exclusions.remove(pin.exclusion_id, MANUAL)
    assert (store.freezes.list(), store.exclusions.list()) == ([], [])


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
