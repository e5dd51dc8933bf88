"""The key files of a worker: read again when they change, and not missed while one is renamed."""

from collections.abc import Sequence
from pathlib import Path

import asyncssh
import pytest
from structlog.testing import capture_logs

from relight.domain.key_rotation import KeyKind, KeyName, KeyRotation, RotationPhase, next_of
from relight.hosts.key_files import (
    KeyFiles,
    KeyNotHereError,
    fixed_keys,
    keys_for_new_machine,
    worker_name,
)
from relight.hosts.keys import IdentityError, load_client_key
from starter.local.home import (
    SshSecrets,
    make_next,
    new_client_key,
    new_host_key_secret,
    prepare_home,
)
from tests.store.fleets import OBSERVED_AT


@pytest.fixture
def ssh(tmp_path: Path) -> SshSecrets:
    return prepare_home(tmp_path / "home")


def make_both(ssh: SshSecrets) -> None:
    make_next(ssh.client_key, new_client_key())
    make_next(ssh.host_key_secret, new_host_key_secret())


def rotation(
    kind: KeyKind, names: Sequence[str], phase: RotationPhase
) -> dict[KeyKind, KeyRotation]:
    old, new = names
    return {
        kind: KeyRotation(
            kind=kind,
            old=KeyName(fingerprint=old),
            new=KeyName(fingerprint=new),
            phase=phase,
            began_at=OBSERVED_AT,
            phase_since=OBSERVED_AT,
        )
    }


def test_a_new_key_is_found_without_a_restart_and_comes_second(ssh: SshSecrets) -> None:
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    before = keys()
    assert (len(before.clients), len(before.secrets)) == (1, 1)
    make_both(ssh)
    now = keys()
    assert now.clients[0] == before.clients[0]
    assert now.secrets[0] == before.secrets[0]
    assert {len(set(now.fingerprints(kind))) for kind in KeyKind} == {2}


def test_the_new_file_becomes_the_one_in_use(ssh: SshSecrets) -> None:
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    make_both(ssh)
    new = keys().clients[1], keys().secrets[1]
    for file in ssh:
        next_of(file).replace(file)
    assert (keys().clients, keys().secrets) == ((new[0],), (new[1],))


def test_a_reader_does_not_miss_the_new_key_that_is_renamed_meanwhile(
    ssh: SshSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    [old] = keys().fingerprints(KeyKind.CLIENT)
    made = make_next(ssh.client_key, new_client_key())
    new = load_client_key(made).get_fingerprint("sha256")

    def load_and_rename(path: Path) -> asyncssh.SSHKey:
        key = load_client_key(path)
        if path == made:
            made.replace(ssh.client_key)
        return key

    monkeypatch.setattr("relight.hosts.key_files.load_client_key", load_and_rename)
    assert keys().fingerprints(KeyKind.CLIENT) == (new,)
    assert not made.exists()
    assert old != new


def test_a_file_that_is_not_complete_yet_is_left_out_and_logged_once(ssh: SshSecrets) -> None:
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    text = new_client_key()
    next_of(ssh.client_key).write_text(text[:100])
    with capture_logs() as logs:
        assert len(keys().clients) == 1
        assert len(keys().clients) == 1
    assert len(logs) == 1
    assert str(next_of(ssh.client_key)) in logs[0]["event"]
    assert text[40:60] not in str(logs)
    next_of(ssh.client_key).write_text(text)
    assert len(keys().clients) == 2


@pytest.mark.parametrize("how", ["removed", "broken"])
def test_a_key_in_use_that_cannot_be_read_any_more_stays_in_use(ssh: SshSecrets, how: str) -> None:
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    before = keys()
    if how == "removed":
        ssh.client_key.unlink()
    else:
        ssh.client_key.write_text("no key")
    assert keys() == before


def test_without_a_key_in_use_no_worker_starts(ssh: SshSecrets) -> None:
    ssh.host_key_secret.write_text("no secret")
    with pytest.raises(IdentityError, match="host key secret"):
        KeyFiles(ssh.client_key, ssh.host_key_secret)


def test_a_copy_of_the_key_in_use_is_no_second_key(ssh: SshSecrets) -> None:
    next_of(ssh.client_key).write_text(ssh.client_key.read_text())
    assert len(KeyFiles(ssh.client_key, ssh.host_key_secret)().clients) == 1


def test_nothing_secret_is_shown(ssh: SshSecrets) -> None:
    ring = KeyFiles(ssh.client_key, ssh.host_key_secret)()
    secret = ssh.host_key_secret.read_text().strip()
    shown = repr(ring) + str(ring.clients[0].name) + str(ring.secrets[0].name)
    assert "PRIVATE" not in shown
    assert secret not in shown
    assert repr(bytes.fromhex(secret)) not in shown
    assert ring.clients[0].line.startswith("ssh-ed25519 AAAA")


def test_a_key_that_is_not_here_is_an_error_that_names_worker_and_setting(ssh: SshSecrets) -> None:
    ring = KeyFiles(ssh.client_key, ssh.host_key_secret)()
    with pytest.raises(KeyNotHereError) as caught:
        ring.secret("SHA256:x")
    for text in (worker_name(), "SHA256:x", "RELIGHT_SSH__HOST_KEY_SECRET", ".next"):
        assert text in str(caught.value)
    assert caught.value.retryable


def test_the_new_file_has_the_owner_and_the_mode_of_a_secret(ssh: SshSecrets) -> None:
    made = make_next(ssh.client_key, new_client_key())
    assert made == next_of(ssh.client_key)
    mine, its = ssh.client_key.stat(), made.stat()
    assert (its.st_mode & 0o777, its.st_uid, its.st_gid) == (0o600, mine.st_uid, mine.st_gid)


# ---------------------------------------------------------------- new machines


@pytest.fixture
def ring_of_two(ssh: SshSecrets) -> KeyFiles:
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    make_both(ssh)
    return keys


def test_without_a_rotation_a_machine_is_made_with_the_keys_in_use(ring_of_two: KeyFiles) -> None:
    ring = ring_of_two()
    made = keys_for_new_machine(ring, {})
    assert (made.clients, made.secret) == (ring.clients[:1], ring.secrets[0])


def test_while_a_key_is_added_a_machine_accepts_both_and_shows_the_old_one(
    ring_of_two: KeyFiles,
) -> None:
    ring = ring_of_two()
    rotations = rotation(KeyKind.CLIENT, ring.fingerprints(KeyKind.CLIENT), RotationPhase.ADDING)
    rotations |= rotation(
        KeyKind.HOST_SECRET, ring.fingerprints(KeyKind.HOST_SECRET), RotationPhase.ADDING
    )
    made = keys_for_new_machine(ring, rotations)
    assert (made.clients, made.secret) == (ring.clients, ring.secrets[0])


@pytest.mark.parametrize("phase", [RotationPhase.REMOVING, RotationPhase.FINISHED])
def test_after_that_a_machine_has_the_new_keys_alone(
    ring_of_two: KeyFiles, phase: RotationPhase
) -> None:
    ring = ring_of_two()
    rotations = rotation(KeyKind.CLIENT, ring.fingerprints(KeyKind.CLIENT), phase)
    rotations |= rotation(KeyKind.HOST_SECRET, ring.fingerprints(KeyKind.HOST_SECRET), phase)
    made = keys_for_new_machine(ring, rotations)
    assert (made.clients, made.secret) == (ring.clients[1:], ring.secrets[1])


@pytest.mark.parametrize("kind", KeyKind)
def test_a_worker_without_the_new_key_makes_no_machine_that_others_could_not_use(
    ssh: SshSecrets, kind: KeyKind
) -> None:
    ring = KeyFiles(ssh.client_key, ssh.host_key_secret)()
    [old] = ring.fingerprints(kind)
    adding = rotation(kind, (old, "SHA256:new"), RotationPhase.ADDING)
    assert keys_for_new_machine(ring, adding) == keys_for_new_machine(ring, {})
    with pytest.raises(KeyNotHereError):
        keys_for_new_machine(ring, rotation(kind, (old, "SHA256:new"), RotationPhase.REMOVING))


@pytest.mark.parametrize("kind", KeyKind)
def test_a_finished_rotation_of_a_restored_store_does_not_count(
    ssh: SshSecrets, kind: KeyKind
) -> None:
    ring = KeyFiles(ssh.client_key, ssh.host_key_secret)()
    older = rotation(kind, ("SHA256:a", "SHA256:b"), RotationPhase.FINISHED)
    assert keys_for_new_machine(ring, older) == keys_for_new_machine(ring, {})


def test_fixed_keys_are_one_of_each(ssh: SshSecrets) -> None:
    ring = fixed_keys(load_client_key(ssh.client_key), bytes(32))()
    assert (len(ring.clients), ring.secrets[0].value) == (1, bytes(32))
