"""Rotations in the store: which machines they wait for, and that each write is safe to repeat."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.fault.table import fault
from relight.domain.key_rotation import (
    KeyKind,
    KeyName,
    KeyRotation,
    MachineKeyState,
    MachineVisited,
    RotateKeysInput,
    RotationPhase,
)
from relight.store.errors import RotationBusyError, UnknownMachineError
from relight.store.store import Store
from relight.store.worker_keys import REPORTED_WITHIN
from tests.store.databases import MigratedStore
from tests.store.fleets import MANUAL, ORIGIN, Run, opening, replace_machine, run_on, serve
from tests.store.pools import made_ready
from tests.store.sql import execute

CLIENT = KeyKind.CLIENT
ADDED, DONE = MachineKeyState
NAMES = {name: KeyName(fingerprint=name, public=f"ssh-ed25519 {name}") for name in "abc"}


def begin(store: Store, old: str = "a", new: str = "b", *, start_over: bool = False) -> KeyRotation:
    asked = RotateKeysInput(
        kind=CLIENT, old=NAMES[old], new=NAMES[new], origin=ORIGIN, start_over=start_over
    )
    return store.key_rotations.begin(asked, Run("keys/client").activity()).rotation


def bring(store: Store, rotation: KeyRotation, state: MachineKeyState | None, *keys: str) -> None:
    store.key_rotations.record(
        rotation, [MachineVisited(machine_key=key, state=state) for key in keys]
    )


def advance(store: Store) -> KeyRotation:
    return store.key_rotations.advance(CLIENT, Run("keys/client").activity()).rotation


def waiting(store: Store) -> list[str]:
    standing = store.key_rotations.standing(CLIENT)
    assert standing is not None
    return [each.machine_key for each in standing.waiting]


@pytest.fixture
def three(store: Store) -> Store:
    """Three routes, the last of which has no machine yet that anybody has seen."""
    serve(store, "r-1")
    serve(store, "r-2")
    store.routes.open(opening("r-3"), run_on("r-3").activity())
    return store


def test_a_rotation_goes_through_its_phases(three: Store) -> None:
    rotation = begin(three)
    assert rotation.phase is RotationPhase.ADDING
    assert waiting(three) == ["r-1-g1", "r-2-g1", "r-3-g1"]
    bring(three, rotation, ADDED, "r-1-g1", "r-2-g1")
    assert advance(three).phase is RotationPhase.ADDING
    bring(three, rotation, ADDED, "r-3-g1")
    removing = advance(three)
    assert removing.phase is RotationPhase.REMOVING
    assert waiting(three) == ["r-1-g1", "r-2-g1", "r-3-g1"]
    bring(three, removing, DONE, "r-1-g1", "r-2-g1", "r-3-g1")
    assert advance(three).is_finished
    standing = three.key_rotations.standing(CLIENT)
    assert standing is not None
    assert (standing.machines, standing.done, standing.waiting) == (3, 3, ())
    assert [event.kind for event in three.events.list() if event.kind.startswith("key-")] == [
        *("key-rotation-begun", "key-rotation-advanced", "key-rotation-advanced")
    ]


def test_a_machine_that_is_being_made_is_waited_for_but_not_visited(three: Store) -> None:
    rotation = begin(three)
    found = {
        each.machine_key: each.machine for each in three.key_rotations.to_visit(rotation, "", 9)
    }
    assert found["r-3-g1"] is None
    assert found["r-1-g1"] is not None
    assert found["r-1-g1"].address == "192.0.2.7"
    standing = three.key_rotations.standing(CLIENT)
    assert standing is not None
    assert "it is being created" in standing.waiting[2].reason


def test_machines_are_visited_by_pages_and_only_as_long_as_they_must(three: Store) -> None:
    rotation = begin(three)
    page = three.key_rotations.to_visit(rotation, "", 2)
    assert [each.machine_key for each in page] == ["r-1-g1", "r-2-g1"]
    page = three.key_rotations.to_visit(rotation, "r-2-g1", 2)
    assert [each.machine_key for each in page] == ["r-3-g1"]
    bring(three, rotation, ADDED, "r-1-g1")
    page = three.key_rotations.to_visit(rotation, "", 9)
    assert [each.machine_key for each in page] == ["r-2-g1", "r-3-g1"]


def test_a_destroyed_machine_is_not_waited_for(three: Store, migrated: MigratedStore) -> None:
    begin(three)
    execute(migrated.url, "UPDATE machines SET status = 'destroyed' WHERE key = 'r-2-g1'")
    execute(migrated.url, "UPDATE machines SET status = 'lost' WHERE key = 'r-3-g1'")
    assert waiting(three) == ["r-1-g1"]
    execute(migrated.url, "UPDATE machines SET status = 'draining' WHERE key = 'r-1-g1'")
    assert waiting(three) == ["r-1-g1"]


def test_a_lost_machine_that_serves_or_is_in_a_pool_is_waited_for(three: Store) -> None:
    """It may come back, with the old key alone."""
    member = made_ready(three)
    begin(three)
    for key in ("r-1-g1", "r-3-g1", member):
        three.sweeps.mark_lost(key, MANUAL)
    assert waiting(three) == [member, "r-1-g1", "r-2-g1"]
    standing = three.key_rotations.standing(CLIENT)
    assert standing is not None
    assert (standing.machines, standing.blocked) == (3, True)
    assert [each.reason for each in standing.waiting] == [
        *("its provider does not list it", "its provider does not list it"),
        "it was not visited yet",
    ]
    replace_machine(three)
    assert waiting(three) == [member, "r-1-g1", "r-1-g2", "r-2-g1"]
    three.destructions.record("r-1-g1", MANUAL, reason="replaced")
    assert waiting(three) == [member, "r-1-g2", "r-2-g1"]


def test_a_fault_is_the_reason_and_a_success_clears_it(three: Store) -> None:
    rotation = begin(three)
    failed = MachineVisited(
        machine_key="r-1-g1", state=None, fault=fault("host-unreachable", "it is off")
    )
    three.key_rotations.record(rotation, [failed])
    standing = three.key_rotations.standing(CLIENT)
    assert standing is not None
    first = standing.waiting[0]
    assert (first.machine_key, first.reason, first.failed) == ("r-1-g1", "it is off", True)
    bring(three, rotation, ADDED, "r-1-g1")
    assert waiting(three) == ["r-2-g1", "r-3-g1"]


def test_a_machine_that_is_left_does_not_block_and_keeps_the_rotation_from_its_end(
    three: Store,
) -> None:
    rotation = begin(three)
    bring(three, rotation, ADDED, "r-1-g1", "r-2-g1")
    three.key_rotations.leave(CLIENT, ["r-3-g1"], MANUAL)
    removing = advance(three)
    assert removing.phase is RotationPhase.REMOVING
    bring(three, removing, DONE, "r-1-g1", "r-2-g1")
    assert advance(three).phase is RotationPhase.REMOVING
    standing = three.key_rotations.standing(CLIENT)
    assert standing is not None
    assert (standing.blocked, standing.left_count, waiting(three)) == (False, 1, ["r-3-g1"])
    bring(three, removing, DONE, "r-3-g1")
    assert advance(three).is_finished


def test_only_a_machine_on_record_can_be_left(three: Store) -> None:
    with pytest.raises(UnknownMachineError, match="nobody-g1"):
        three.key_rotations.leave(CLIENT, ["r-1-g1", "nobody-g1"], MANUAL)
    begin(three)
    standing = three.key_rotations.standing(CLIENT)
    assert standing is not None
    assert standing.left_count == 0


def test_to_begin_again_goes_on_and_another_key_is_refused(three: Store) -> None:
    rotation = begin(three)
    bring(three, rotation, ADDED, "r-1-g1")
    assert begin(three) == rotation
    assert waiting(three) == ["r-2-g1", "r-3-g1"]
    with pytest.raises(RotationBusyError):
        begin(three, new="c")
    assert three.key_rotations.all() == {CLIENT: rotation}


def test_to_start_over_visits_all_again_and_takes_the_lost_key_away_too(three: Store) -> None:
    bring(three, begin(three), ADDED, "r-1-g1")
    rotation = begin(three, new="c", start_over=True)
    assert (rotation.new, rotation.old.fingerprint) == (NAMES["c"], "a")
    assert rotation.old.public.splitlines() == ["ssh-ed25519 a", "ssh-ed25519 b"]
    assert waiting(three) == ["r-1-g1", "r-2-g1", "r-3-g1"]
    again = begin(three, new="b", start_over=True)
    assert again.old.public.splitlines() == ["ssh-ed25519 a", "ssh-ed25519 b", "ssh-ed25519 c"]


def test_to_start_over_keeps_the_word_that_it_may_go_on_without_a_machine(three: Store) -> None:
    bring(three, begin(three), ADDED, "r-1-g1")
    three.key_rotations.leave(CLIENT, ["r-1-g1", "r-3-g1"], MANUAL)
    begin(three, new="c", start_over=True)
    standing = three.key_rotations.standing(CLIENT)
    assert standing is not None
    assert {each.machine_key for each in standing.waiting if each.left} == {"r-1-g1", "r-3-g1"}
    assert (standing.waiting_count, standing.left_count, standing.added) == (3, 2, 0)


def test_what_an_attempt_of_another_rotation_reports_late_is_dropped(three: Store) -> None:
    first = begin(three)
    begin(three, new="c", start_over=True)
    bring(three, first, DONE, "r-1-g1")
    assert waiting(three) == ["r-1-g1", "r-2-g1", "r-3-g1"]


def test_after_the_end_another_rotation_begins_with_nothing_proven(three: Store) -> None:
    rotation = begin(three)
    for state in (ADDED, DONE):
        bring(three, rotation, state, "r-1-g1", "r-2-g1", "r-3-g1")
        advance(three)
    bring(three, rotation, DONE, "r-1-g1")  # too late
    assert begin(three, "b", "c").phase is RotationPhase.ADDING
    assert waiting(three) == ["r-1-g1", "r-2-g1", "r-3-g1"]


def test_an_attempt_whose_reply_was_lost_does_not_advance_twice(three: Store) -> None:
    rotation, activity = begin(three), Run("keys/client").activity()
    bring(three, rotation, DONE, "r-1-g1", "r-2-g1", "r-3-g1")
    assert three.key_rotations.advance(CLIENT, activity).rotation.phase is RotationPhase.REMOVING
    assert three.key_rotations.advance(CLIENT, activity).rotation.phase is RotationPhase.REMOVING


def test_the_rows_of_a_machine_go_with_its_record(three: Store, migrated: MigratedStore) -> None:
    rotation = begin(three)
    bring(three, rotation, ADDED, "r-3-g1")
    execute(migrated.url, "UPDATE machines SET status = 'destroyed' WHERE key = 'r-3-g1'")
    execute(migrated.url, "DELETE FROM machines WHERE key = 'r-3-g1'")
    bring(three, rotation, ADDED, "r-3-g1")
    assert waiting(three) == ["r-1-g1", "r-2-g1"]


# ---------------------------------------------------------------- workers


def test_a_worker_reports_its_keys_until_it_stops(store: Store) -> None:
    store.worker_keys.report("1@a", ("x",), ("y", "z"))
    store.worker_keys.report("2@b", ("x",), ("y",))
    store.worker_keys.report("1@a", ("w", "x"), ("y",))
    [first, second] = store.worker_keys.list()
    assert (first.worker, first.client, first.host_secret) == ("1@a", ("w", "x"), ("y",))
    assert second.of(KeyKind.HOST_SECRET) == ("y",)
    store.worker_keys.forget("1@a")
    assert [each.worker for each in store.worker_keys.list()] == ["2@b"]


def test_a_worker_that_reports_no_more_does_not_count(
    store: Store, migrated: MigratedStore
) -> None:
    store.worker_keys.report("1@a", ("x",), ("y",))
    store.worker_keys.report("2@b", ("x",), ("y",))
    past = datetime.now(UTC) - REPORTED_WITHIN - timedelta(seconds=1)
    execute(
        migrated.url,
        f"UPDATE worker_keys SET seen_at = '{past:%Y-%m-%d %H:%M:%S.%f}' WHERE worker = '1@a'",
    )
    assert [each.worker for each in store.worker_keys.list()] == ["2@b"]
    store.worker_keys.report("2@b", ("x",), ("y",))
    # Its row is deleted, so nothing brings it back.
    execute(migrated.url, "UPDATE worker_keys SET seen_at = '2999-01-01 00:00:00.000000'")
    assert [each.worker for each in store.worker_keys.list()] == ["2@b"]
