"""Rows that were made invalid by SQL: each is named, the rows beside it are read, and it can go."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relight.domain.fault.table import fault
from relight.domain.hold import Hold, HoldKind, Selector
from relight.domain.liveness import Liveness
from relight.domain.release import Release
from relight.store import bad_rows
from relight.store.errors import BadValueError
from relight.store.row_repair import READERS
from relight.store.store import Store
from tests.store.fleets import MANUAL, opening_rollout, rollout_run, run_on, serve
from tests.store.pools import made_ready
from tests.store.sql import execute

pytestmark = pytest.mark.attack("an invalid row in the store")

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Case:
    """One table with a good row and a bad one.

    Attributes:
        break_it: the statement that makes a row invalid.
        key: that row's key.
        read: reads the table; returns what it found.
        rest: what it finds beside the bad row.
        repair: columns that make the row valid again.
    """

    break_it: str
    key: tuple[str, ...]
    read: Callable[[Store], object]
    rest: object
    repair: dict[str, str]


CASES = {
    "routes": Case(
        "UPDATE routes SET status = 'servign' WHERE route_id = 'r-1'",
        ("r-1",),
        lambda store: [route.route_id for route in store.routes.list()],
        ["r-2"],
        {"status": "serving"},
    ),
    "machines": Case(
        "UPDATE machines SET status = 'runing' WHERE key = 'r-1-g1'",
        ("r-1-g1",),
        lambda store: [machine.key for machine in store.machines.list()],
        ["pool-lab-east-1", "pool-lab-east-2", "r-2-g1"],
        {"status": "running"},
    ),
    "pool_machines": Case(
        "UPDATE pool_machines SET status = 'redy' WHERE key = 'pool-lab-east-1'",
        ("pool-lab-east-1",),
        lambda store: [machine.key for machine in store.pool.list()],
        ["pool-lab-east-2"],
        {"status": "ready"},
    ),
    "pool_sizes": Case(
        "UPDATE pool_sizes SET size = -3 WHERE region = 'east'",
        ("lab", "east"),
        lambda store: [size.region for size in store.pool_sizes.list()],
        ["west"],
        {"size": "3"},
    ),
    "tracks": Case(
        "UPDATE tracks SET release_override = 'newest' WHERE name = 'pinned'",
        ("pinned",),
        lambda store: [track.name for track in store.tracks.list()],
        ["stable"],
        {"release_override": ""},
    ),
    "settings": Case(
        "UPDATE settings SET value = '0.0.73-'",
        ("default_release_tag",),
        lambda store: store.fleet_settings.all(),
        {},
        {"value": "v0.0.73"},
    ),
    "releases": Case(
        "UPDATE releases SET version = '1.0-' WHERE tag = 'v0.0.73'",
        ("v0.0.73",),
        lambda store: [release.tag for release in store.releases.list()],
        ["v0.0.74"],
        {"version": "0.0.73"},
    ),
    "rollouts": Case(
        "UPDATE rollouts SET phase = 'runing' WHERE scope = 'track:pinned'",
        ("1",),
        lambda store: [rollout.scope for rollout in store.rollouts.list()],
        ["track:stable"],
        {"phase": "running"},
    ),
    "rollout_routes": Case(
        "UPDATE rollout_routes SET progress = 'swaping' WHERE route_id = 'r-1'",
        ("of-a-test", "r-1"),
        lambda store: [each.route_id for each in store.rollout_routes.list("of-a-test")],
        ["r-2"],
        {"progress": "skipped"},
    ),
    "holds": Case(
        "UPDATE holds SET owner = '' WHERE kind = 'breaker-override'",
        ("3",),
        lambda store: store.breaker_overrides.list(),
        [],
        {"owner": "me"},
    ),
}


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with two rows in each table of CASES, or one."""
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
        store.remediations.quarantine(route_id, "a test", MANUAL)
    made_ready(store)
    made_ready(store)
    for region in ("east", "west"):
        store.pool_sizes.set("lab", region, 3, MANUAL)
    store.fleet_settings.set("default_release_tag", "v0.0.73", MANUAL)
    for version in ("0.0.73", "0.0.74"):
        store.releases.save(
            Release(
                tag=f"v{version}", version=version, package="lantern-box", source="x", deb_files=()
            )
        )
    for track in ("pinned", "stable"):
        scope = f"track:{track}"
        run = rollout_run("v0.0.74", scope)
        store.rollouts.open(opening_rollout(scope=scope), run.activity())
    store.rollout_routes.plan("of-a-test", [["r-1", "r-2"]])
    for kind in (HoldKind.FREEZE, HoldKind.EXCLUSION, HoldKind.BREAKER_OVERRIDE):
        holds = {
            HoldKind.FREEZE: store.freezes,
            HoldKind.EXCLUSION: store.exclusions,
            HoldKind.BREAKER_OVERRIDE: store.breaker_overrides,
        }[kind]
        covers = Selector(provider="lab")
        hold = Hold(
            kind=kind,
            covers=covers,
            starts_at=NOW - HOUR,
            ends_at=NOW + HOUR,
            owner="me",
            reason="a",
        )
        holds.add(hold, MANUAL)
    return store


@pytest.mark.parametrize("table", CASES)
def test_a_bad_row_is_left_out_and_named_and_the_others_are_read(
    filled: Store, store_url: str, table: str
) -> None:
    case = CASES[table]
    execute(store_url, case.break_it)
    with bad_rows.collecting() as bad:
        assert case.read(filled) == case.rest
    assert [(row.table, row.key) for row in bad] == [(table, case.key)]
    [named] = map(str, bad)
    assert f"relight store repair-row {table} {' '.join(case.key)}" in named
    assert f"relight store remove-row {table} {' '.join(case.key)}" in named


@pytest.mark.parametrize("table", CASES)
def test_a_bad_row_is_found_and_repaired(filled: Store, store_url: str, table: str) -> None:
    case = CASES[table]
    execute(store_url, case.break_it)
    [found] = filled.row_repair.list()
    assert (found.table, found.key) == (table, case.key)
    column = next(iter(case.repair))
    wrong = {**case.repair, column: "" if column == "owner" else "v 1 \x00"}
    with pytest.raises(BadValueError):
        filled.row_repair.repair(table, case.key, wrong, MANUAL)
    filled.row_repair.repair(table, case.key, case.repair, MANUAL)
    assert list(filled.row_repair.list()) == []
    [event] = filled.events.list(kind="row-repaired")
    assert (event.detail["table"], event.detail["key"]) == (table, list(case.key))


@pytest.mark.parametrize("table", [name for name in CASES if name not in {"routes", "machines"}])
def test_a_bad_row_can_be_deleted_and_a_valid_one_cannot(
    filled: Store, store_url: str, table: str
) -> None:
    case = CASES[table]
    with pytest.raises(BadValueError, match="valid"):
        filled.row_repair.remove(table, case.key, MANUAL)
    execute(store_url, case.break_it)
    filled.row_repair.remove(table, case.key, MANUAL)
    assert list(filled.row_repair.list()) == []


def test_a_row_that_others_need_is_not_deleted(filled: Store, store_url: str) -> None:
    execute(store_url, CASES["routes"].break_it)
    with pytest.raises(BadValueError, match="other rows need"):
        filled.row_repair.remove("routes", ("r-1",), MANUAL)


def test_a_row_that_nobody_collects_is_logged(
    filled: Store, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(store_url, CASES["routes"].break_it)
    with caplog.at_level(logging.WARNING):
        filled.routes.list()
    assert "relight store repair-row routes r-1" in caplog.text


def test_every_table_can_be_checked() -> None:
    from relight.store.tables import Row  # noqa: PLC0415 - all subclasses are known by then

    assert {*READERS} == {each for each in Row.__subclasses__() if hasattr(each, "__table__")}


# ---------------------------------------------------------------- values that no column allows

JUNK = {
    "a fault that is no JSON": "UPDATE routes SET fault = '{oops' WHERE route_id = 'r-1'",
    "a fault of another shape": "UPDATE routes SET fault = '[1]' WHERE route_id = 'r-1'",
    "a time that is none": "UPDATE routes SET proven_at = 'soon' WHERE route_id = 'r-1'",
    "a time that is a number": "UPDATE routes SET proven_at = 7 WHERE route_id = 'r-1'",
    "a machine of no time": "UPDATE machines SET created_at = 'x' WHERE key = 'r-1-g1'",
}


@pytest.mark.parametrize("what", JUNK)
def test_any_value_in_a_column_of_sqlite_is_that_rows_fault(
    filled: Store, store_url: str, what: str
) -> None:
    if not store_url.startswith("sqlite"):
        pytest.skip("PostgreSQL refuses such values")
    execute(store_url, JUNK[what])
    with bad_rows.collecting() as bad:
        filled.routes.list()
        filled.machines.list()
        assert [brief.route_id for brief in filled.routes.in_scope("fleet")][-1:] == ["r-2"]
        filled.remediations.histories(NOW - HOUR)
    assert {row.key[0] for row in bad} <= {"r-1", "r-1-g1"}
    assert {row.key[0] for row in filled.row_repair.list()} <= {"r-1", "r-1-g1"}
    assert bad.of(type_of("routes")) | bad.of(type_of("machines"))


def type_of(table: str):
    return next(row for row in READERS if row.__tablename__ == table)


# ---------------------------------------------------------------- what means "do not touch"


@pytest.mark.parametrize(
    ("change", "covers"),
    [
        ("owner = ''", Selector(provider="lab")),
        ("track = 'no track!'", Selector(provider="lab")),
        ("pinned_to = 'latest'", Selector(provider="lab")),
        ("kind = 'frezee'", Selector(provider="lab")),
        ("ends_at = starts_at", None),
        ("provider = NULL, route_id = 'R!'", Selector()),
    ],
)
def test_a_bad_freeze_or_exclusion_holds_all_that_it_may_cover(
    filled: Store, store_url: str, change: str, covers: Selector | None
) -> None:
    execute(store_url, f"UPDATE holds SET {change} WHERE hold_id = 1")
    with bad_rows.collecting() as bad:
        standing = filled.freezes.standing(NOW)
    assert [row.key for row in bad] == [("1",)]
    # One that has clearly ended holds nothing.
    assert [hold.covers for hold in standing] == ([covers] if covers is not None else [])
    assert all(hold.is_in_force(NOW) for hold in standing)


def test_a_hold_of_an_unknown_kind_is_a_freeze_and_an_exclusion_and_no_override(
    filled: Store, store_url: str
) -> None:
    execute(store_url, "UPDATE holds SET kind = 'frezee' WHERE hold_id = 3")
    assert [hold.hold_id for hold in filled.freezes.standing(NOW)] == [1, 3]
    assert [hold.hold_id for hold in filled.exclusions.standing(NOW)] == [2, 3]
    assert filled.breaker_overrides.standing(NOW) == []


def test_a_bad_breaker_override_permits_nothing(filled: Store, store_url: str) -> None:
    execute(store_url, "UPDATE holds SET reason = '' WHERE hold_id = 3")
    assert filled.breaker_overrides.standing(NOW) == []


def test_a_hold_whose_end_cannot_be_read_holds(filled: Store, store_url: str) -> None:
    if not store_url.startswith("sqlite"):
        pytest.skip("PostgreSQL refuses such values")
    for hold_id, end in ((1, "0"), (2, "never")):
        execute(store_url, f"UPDATE holds SET ends_at = '{end}' WHERE hold_id = {hold_id}")
    assert [hold.is_in_force(NOW) for hold in filled.freezes.standing(NOW)] == [True]
    assert [hold.is_in_force(NOW) for hold in filled.exclusions.standing(NOW)] == [True]


def test_a_bad_record_of_the_breaker_means_open(filled: Store, store_url: str) -> None:
    execute(store_url, """INSERT INTO breaker VALUES (1, '{"incident": "none"}')""")
    with bad_rows.collecting() as bad:
        state = filled.breaker.get()
    assert state.incident is not None
    assert [row.table for row in bad] == ["breaker"]
    after = filled.breaker.update(lambda before: before, run_on().activity())
    assert after.incident is not None
    assert list(filled.row_repair.list()) == []  # the next update has replaced it


def test_a_bad_destruction_counts_in_an_unknown_region(filled: Store, store_url: str) -> None:
    execute(
        store_url,
        "INSERT INTO events (at, kind, requested_by, reason, workflow_id, run_id, activity_id,"
        " machine_key, detail) VALUES (CURRENT_TIMESTAMP, 'machine-destroyed', 'x', 'y', '', '',"
        """ '', 'r-9-g1', '{"provider": 7}')""",
    )
    with bad_rows.collecting() as bad:
        [destruction] = filled.destructions.list(NOW - HOUR)
    assert (destruction.region, destruction.unreachable) == ("unknown", True)
    assert [row.table for row in bad] == ["events"]


def test_bad_permits_are_dropped_and_the_others_hold(filled: Store, store_url: str) -> None:
    lasts = timedelta(minutes=1)
    filled.permits.lease("logins", "good", limit=10, wanted=3, used=0, lasts=lasts)
    execute(
        store_url,
        "INSERT INTO permits (name, holder, count, wanted, expires_at)"
        " VALUES ('logins', 'bad', -5, 5, '2999-01-01 00:00:00')",
    )
    granted = filled.permits.lease("logins", "new", limit=10, wanted=20, used=0, lasts=lasts)
    assert granted.count == 7
    assert list(filled.row_repair.list()) == []


# ---------------------------------------------------------------- what is read beside another row

INCIDENTS = [fault("clock-wrong", "it is"), fault("records-outdated", "they are")]

BESIDE = {
    "liveness": (
        "UPDATE machine_liveness SET since = 'soon' WHERE machine_key = 'r-1-g1'",
        "machine_liveness",
    ),
    "remediation": (
        "UPDATE route_remediations SET gone_since = 'soon' WHERE route_id = 'r-1'",
        "route_remediations",
    ),
    "route": ("UPDATE routes SET proven_at = 'soon' WHERE route_id = 'r-1'", "routes"),
    "incident": ("UPDATE incidents SET since = 'soon' WHERE kind = 'clock-wrong'", "incidents"),
}


@pytest.mark.parametrize("what", BESIDE)
def test_a_bad_row_is_never_the_fault_of_the_row_beside_it(
    filled: Store, store_url: str, what: str
) -> None:
    if not store_url.startswith("sqlite"):
        pytest.skip("PostgreSQL refuses such values")
    change, table = BESIDE[what]
    filled.liveness.record(
        [
            Liveness(machine_key=key, answers=False, since=NOW)
            for key in ("r-1-g1", "r-2-g1", "pool-lab-east-1")
        ]
    )
    filled.incidents.update(
        [fault("clock-wrong", "it is"), fault("records-outdated", "so")], MANUAL
    )
    execute(store_url, change)
    with bad_rows.collecting() as bad:
        # Two machines of routes, two of the pool: each is probed.
        assert len(filled.liveness.page("", 10)) == 4
        assert "r-2" in filled.remediations.histories(NOW - HOUR)
        assert "r-2-g1" in filled.liveness.silent()
        assert len(filled.pool.list()) == 2
        assert len(filled.sweeps.machines([])) == 4
        assert "records-outdated" in {each.kind for each in filled.incidents.list()}
    assert {each.table for each in bad} <= {table}
    for each in filled.row_repair.list():
        assert each.table == table
        if table != "routes":
            filled.row_repair.remove(table, each.key, MANUAL)
    assert table == "routes" or list(filled.row_repair.list()) == []


def test_incidents_that_end_together_are_one_event(filled: Store) -> None:
    filled.incidents.update(INCIDENTS, run_on("r-1").activity())
    ending = run_on("r-1").activity()
    for _ in range(2):  # Also by a retry.
        filled.incidents.update([], ending)
    assert filled.incidents.list() == []
    [ended] = filled.events.list(kind="incident-ended")
    incidents: Any = ended.detail["incidents"]
    assert [each["kind"] for each in incidents] == [each.kind for each in INCIDENTS]
