"""When a rotation goes on, and which workers keep it from that."""

import pytest

from relight.domain.key_rotation import (
    KeyKind,
    KeyName,
    KeyRotation,
    KeyStanding,
    MachineKeyState,
    RotationPhase,
    WorkerKeys,
    lacking,
    next_phase,
    required_states,
)
from tests.store.fleets import OBSERVED_AT

ADDING, REMOVING, FINISHED = RotationPhase


def standing(phase: RotationPhase, waiting: int = 0, left: int = 0) -> KeyStanding:
    rotation = KeyRotation(
        kind=KeyKind.CLIENT,
        old=KeyName(fingerprint="old"),
        new=KeyName(fingerprint="new"),
        phase=phase,
        began_at=OBSERVED_AT,
        phase_since=OBSERVED_AT,
    )
    return KeyStanding(
        rotation=rotation, machines=9, added=0, done=0, waiting_count=waiting, left_count=left
    )


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (standing(ADDING), REMOVING),
        (standing(ADDING, waiting=1), ADDING),
        (standing(ADDING, waiting=2, left=1), ADDING),
        (standing(ADDING, waiting=2, left=2), REMOVING),
        (standing(REMOVING), FINISHED),
        (standing(REMOVING, waiting=1), REMOVING),
        # Its machines have the old key still.
        (standing(REMOVING, waiting=1, left=1), REMOVING),
    ],
)
def test_a_phase_ends_when_no_machine_is_waited_for(now: KeyStanding, then: RotationPhase) -> None:
    assert next_phase(now) is then


def test_the_old_key_is_taken_away_only_once_each_machine_has_the_new_one() -> None:
    both, new_only = MachineKeyState.ADDED, MachineKeyState.DONE
    assert required_states(KeyKind.CLIENT, ADDING) == {both, new_only}
    assert required_states(KeyKind.CLIENT, REMOVING) == {new_only}
    # A machine shows one host key.
    assert required_states(KeyKind.HOST_SECRET, ADDING) == {new_only}


@pytest.mark.parametrize(
    ("phase", "has", "lacks"),
    [
        (ADDING, ("old", "new"), None),
        (ADDING, ("new", "old"), None),
        (ADDING, ("old",), "new"),
        (ADDING, ("new",), "old"),
        (ADDING, (), "old"),
        (REMOVING, ("new",), None),
        (REMOVING, ("old",), "new"),
    ],
)
def test_a_worker_needs_the_old_key_as_long_as_machines_may_have_it_alone(
    phase: RotationPhase, has: tuple[str, ...], lacks: str | None
) -> None:
    workers = (worker("1@a", *has), worker("2@b", "old", "new"))
    assert lacking(standing(phase).rotation, workers) == ({"1@a": lacks} if lacks else {})


def test_an_old_key_that_no_worker_has_is_not_waited_for() -> None:
    """It is lost: the rotation goes on, and names the machines that have it alone."""
    workers = (worker("1@a", "new"), worker("2@b", "other"))
    assert lacking(standing(ADDING).rotation, workers) == {"2@b": "new"}


def worker(name: str, *client: str) -> WorkerKeys:
    return WorkerKeys(worker=name, client=client, host_secret=("x",), seen_at=OBSERVED_AT)
