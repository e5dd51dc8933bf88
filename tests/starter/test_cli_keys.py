"""`relight keys`: rotations by command, from the new file to its use, and what is refused."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from devkit.simulated.parts import user_data_renderer
from relight.domain.key_rotation import KeyKind, RotationPhase, next_of
from relight.engine.fleet import join
from relight.hosts.key_files import KeyFiles
from relight.key_report import reporting_keys
from starter.local.children import wait_until
from starter.local.home import SshSecrets, make_next, new_client_key, prepare_home
from starter.local.temporal import EmbeddedTemporal
from tests.starter.in_process import InProcess
from tests.starter.installation import Installation
from tests.workflows.installation import small_installation

KINDS = pytest.mark.parametrize("kind", KeyKind)


@dataclass
class Operated:
    """An installation whose worker reads keys from files, and reports them."""

    installation: Installation
    ssh: SshSecrets
    keys: KeyFiles

    @property
    def relight(self) -> InProcess:
        return self.installation.relight

    def file(self, kind: KeyKind) -> Path:
        return self.ssh.client_key if kind is KeyKind.CLIENT else self.ssh.host_key_secret

    async def until_reported(self) -> None:
        """Wait until the worker has reported the keys that it has now."""
        store = self.installation.harness.store

        async def reported() -> bool:
            ring = self.keys()
            return any(
                all(each.of(kind) == ring.fingerprints(kind) for kind in KeyKind)
                for each in await asyncio.to_thread(store.worker_keys.list)
            )

        await wait_until(reported, timedelta(seconds=10))

    async def rotation_that_waits_for(self, machine_key: str, kind: KeyKind) -> str:
        """Begin a rotation in which one of two machines does not answer; return the new key."""
        harness = self.installation.harness
        harness.hosts.unreachable.add(machine_key)
        started = await self.relight("keys", "rotate", kind, "--no-wait")
        assert started.code == 0, started

        async def waits() -> bool:
            standing = await asyncio.to_thread(harness.store.key_rotations.standing, kind)
            return standing is not None and [each.failed for each in standing.waiting] == [True]

        await wait_until(waits, timedelta(seconds=20))
        return self.keys().fingerprints(kind)[1]


@pytest.fixture
async def operated(
    temporal: EmbeddedTemporal,
    temporal_client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Operated]:
    monkeypatch.setattr("relight.key_report.CHECK_EVERY", timedelta(milliseconds=50))
    ssh = prepare_home(tmp_path / "keys")
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    user_data = replace(user_data_renderer(keys().clients[0].private), keys=keys)
    async with (
        small_installation(temporal_client, tmp_path, user_data=user_data) as harness,
        reporting_keys(harness.store, keys),
    ):
        harness.hosts.keys = keys
        await join(temporal_client, harness.store, adopt=True)
        await asyncio.gather(*(harness.serving_route(route_id=each) for each in ("de-1", "de-2")))
        installation = Installation(harness, temporal.address, tmp_path)
        files = {
            "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
            "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
        }
        installation.relight = installation.relight.where(**files)
        operated = Operated(installation, ssh, keys)
        await operated.until_reported()
        try:
            yield operated
        finally:
            await installation.end_all()


@KINDS
async def test_a_rotation_ends_with_the_new_file_in_use(operated: Operated, kind: KeyKind) -> None:
    [old] = operated.keys().fingerprints(kind)
    before = operated.file(kind).read_text()
    done = await operated.relight("keys", "rotate", kind, "--reason", "a stolen laptop")
    assert done.code == 0, done
    [new] = operated.keys().fingerprints(kind)
    assert (new != old, operated.file(kind).read_text() != before) == (True, True)
    assert not next_of(operated.file(kind)).exists()
    assert f"2 machines have the key {new} and none has {old}" in done.out
    [begun] = operated.installation.harness.events(kind="key-rotation-begun")
    assert begun.reason == "a stolen laptop"
    await operated.installation.provision(1)
    again = await operated.relight("keys", "rotate", kind, "--json")
    assert again.code == 0, again
    assert again.json["rotation"]["phase"] == RotationPhase.FINISHED
    assert again.json["rotation"]["old"]["fingerprint"] == new
    assert again.json["done"] == 3


@KINDS
async def test_a_rotation_waits_for_a_machine_and_goes_on_when_it_is_typed_again(
    operated: Operated, kind: KeyKind
) -> None:
    harness = operated.installation.harness
    harness.hosts.unreachable.add("de-2-g1")
    started = await operated.relight("keys", "rotate", kind, "--no-wait")
    assert started.code == 0, started
    assert f"`relight keys rotate {kind}` waits for its end" in started.said + started.out

    async def waits() -> bool:
        status = await operated.relight("keys", "status")
        assert status.code == 0, status
        return "no such host" in status.out

    await wait_until(waits, timedelta(seconds=20))
    status = await operated.relight("keys", "status")
    assert "de-2-g1" in status.out
    assert f"`relight keys rotate {kind}` goes on with the rotation" in status.out
    assert "--leave HOST" in status.out

    left = await operated.relight("keys", "rotate", kind, "--leave", "de-2")
    assert left.code == 1
    assert "not finished: these machines may have the old key only: de-2-g1" in left.said
    assert next_of(operated.file(kind)).exists()

    harness.hosts.unreachable.clear()
    done = await operated.relight("keys", "rotate", kind)
    assert done.code == 0, done
    assert not next_of(operated.file(kind)).exists()
    assert harness.destroyed() == []


async def test_a_rotation_that_ended_meanwhile_is_only_brought_to_its_end(
    operated: Operated,
) -> None:
    kind, store = KeyKind.CLIENT, operated.installation.harness.store
    await operated.relight("keys", "rotate", kind, "--no-wait")

    async def finished() -> bool:
        standing = await asyncio.to_thread(store.key_rotations.standing, kind)
        return standing is not None and standing.rotation.is_finished

    await wait_until(finished, timedelta(seconds=20))
    new = operated.keys().fingerprints(kind)[1]
    status = await operated.relight("keys", "status")
    assert "the rotation is finished, and the file of" in status.out
    done = await operated.relight("keys", "rotate", kind)
    assert done.code == 0, done
    assert operated.keys().fingerprints(kind) == (new,)
    assert len(operated.installation.harness.events(kind="key-rotation-begun")) == 1
    await operated.until_reported()
    status = await operated.relight("keys", "status", "--json")
    client = next(each for each in status.json if each["kind"] == kind)
    assert (client["in_use"], client["new"]) == (new, None)
    assert client["next"] == "nothing. `relight keys rotate client` exchanges it again"


async def test_a_worker_that_uses_another_key_keeps_a_rotation_from_its_beginning(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "starter.cli.key_rotation.REPORTED_AGAIN_WITHIN", timedelta(milliseconds=200)
    )
    kind, store = KeyKind.CLIENT, operated.installation.harness.store
    store.worker_keys.report("1@elsewhere", ("SHA256:before", "SHA256:x"), ("SHA256:y",))
    refused = await operated.relight("keys", "rotate", kind)
    assert refused.code == 3
    assert "the file of 1@elsewhere is the old one: rename" in refused.said
    assert not next_of(operated.file(kind)).exists()
    assert store.key_rotations.all() == {}


async def test_a_lost_new_key_is_refused_and_given_up_by_word(operated: Operated) -> None:
    kind, harness = KeyKind.CLIENT, operated.installation.harness
    lost = await operated.rotation_that_waits_for("de-2-g1", kind)
    next_of(operated.file(kind)).unlink()
    await operated.until_reported()
    refused = await operated.relight("keys", "rotate", kind)
    assert refused.code == 3
    assert f"the new key {lost} of the unfinished rotation is not in the files" in refused.said
    assert "relight keys rotate client --start-over" in refused.said
    status = await operated.relight("keys", "status")
    assert "relight keys rotate client --start-over" in status.out
    harness.hosts.unreachable.clear()
    done = await operated.relight("keys", "rotate", kind, "--start-over")
    assert done.code == 0, done
    [line] = harness.hosts.of("de-1").authorized_keys
    assert line == operated.keys().clients[0].line


@KINDS
async def test_a_new_key_that_is_not_lost_is_not_given_up(
    operated: Operated, kind: KeyKind
) -> None:
    harness = operated.installation.harness
    new = await operated.rotation_that_waits_for("de-2-g1", kind)
    rotations, made = harness.store.key_rotations.all(), next_of(operated.file(kind))
    text = made.read_text()
    refused = await operated.relight("keys", "rotate", kind, "--start-over", "--leave", "de-2")
    assert refused.code == 3
    assert f"the new key {new} is not lost: it is in {made}" in refused.said
    assert f"`relight keys rotate {kind}` goes on with it" in refused.said
    store = harness.store
    store.worker_keys.report(
        "1@elsewhere", *(operated.keys().fingerprints(each) for each in KeyKind)
    )
    made.unlink()
    refused = await operated.relight("keys", "rotate", kind, "--start-over")
    assert refused.code == 3
    assert f"the new key {new} of the unfinished rotation is not in the files here" in refused.said
    assert f"copy it from the computer of 1@elsewhere to {made}" in refused.said
    assert "--start-over" not in refused.said
    assert not made.exists()
    status = await operated.relight("keys", "status")
    assert "--start-over" not in status.out
    assert store.key_rotations.all() == rotations
    assert harness.events(kind="key-rotation-left-machines") == []
    made.write_text(text)
    made.chmod(0o600)
    store.worker_keys.forget("1@elsewhere")
    harness.hosts.unreachable.clear()
    done = await operated.relight("keys", "rotate", kind)
    assert done.code == 0, done
    assert operated.keys().fingerprints(kind) == (new,)


async def test_another_file_in_the_place_of_the_lost_key_is_kept(operated: Operated) -> None:
    kind = KeyKind.CLIENT
    await operated.rotation_that_waits_for("de-2-g1", kind)
    made, text = next_of(operated.file(kind)), new_client_key()
    made.unlink()
    make_next(operated.file(kind), text)
    made.with_name(f"{made.name}.1").write_text("kept before")
    await operated.until_reported()
    operated.installation.harness.hosts.unreachable.clear()
    done = await operated.relight("keys", "rotate", kind, "--start-over")
    assert done.code == 0, done
    kept = made.with_name(f"{made.name}.2")
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (text, 0o600)
    assert made.with_name(f"{made.name}.1").read_text() == "kept before"
    assert f"renamed {made} to {kept}" in done.said


async def test_only_an_unfinished_rotation_is_started_over(operated: Operated) -> None:
    made = make_next(operated.ssh.client_key, new_client_key())
    text = made.read_text()
    refused = await operated.relight("keys", "rotate", "client", "--start-over")
    assert refused.code == 3
    assert "no rotation of the client key is unfinished" in refused.said
    assert made.read_text() == text


async def test_a_new_file_that_cannot_be_used_is_not_overwritten(operated: Operated) -> None:
    made = next_of(operated.ssh.client_key)
    for text in ("half a key", operated.ssh.client_key.read_text()):
        made.write_text(text)
        refused = await operated.relight("keys", "rotate", "client")
        assert refused.code == 3
        assert f"{made} exists, and no other key can be read from it" in refused.said
        assert made.read_text() == text
    assert operated.installation.harness.store.key_rotations.all() == {}


async def test_a_machine_can_be_left_by_the_command_that_starts_over(operated: Operated) -> None:
    kind = KeyKind.CLIENT
    await operated.rotation_that_waits_for("de-2-g1", kind)
    next_of(operated.file(kind)).unlink()
    await operated.until_reported()
    left = await operated.relight("keys", "rotate", kind, "--start-over", "--leave", "de-2")
    assert left.code == 1
    assert "not finished: these machines may have the old key only: de-2-g1" in left.said


async def test_a_key_file_that_no_new_one_can_replace_is_refused(operated: Operated) -> None:
    file, kind = operated.ssh.client_key, KeyKind.CLIENT
    with mounted(file, file):
        refused = await operated.relight("keys", "rotate", kind)
    assert refused.code == 3
    assert f"{file} is mounted by itself" in refused.said
    with mounted(file.parent, file.parent, "remount,ro,bind"):
        unwritable = await operated.relight("keys", "rotate", kind)
    assert unwritable.code == 3
    assert f"the folder {file.parent} cannot be written" in unwritable.said
    assert [each.name for each in file.parent.glob("ssh_client_key*")] == [file.name]
    assert operated.installation.harness.store.key_rotations.all() == {}
    with mounted(file.parent, file.parent):
        done = await operated.relight("keys", "rotate", kind)
    assert done.code == 0, done


@contextmanager
def mounted(source: Path, target: Path, *then: str) -> Iterator[None]:
    """Mount a file or a folder at another path; remount it with options."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        for options in then:
            subprocess.run(["mount", "-o", options, target], check=True)
        yield
    finally:
        subprocess.run(["umount", target], check=True)


async def test_a_machine_that_nobody_knows_cannot_be_left(operated: Operated) -> None:
    refused = await operated.relight("keys", "rotate", "client", "--leave", "nobody")
    assert refused.code == 2
    assert "no machine nobody on record" in refused.said
    assert not next_of(operated.ssh.client_key).exists()


async def test_where_no_key_is_a_rotation_is_refused(operated: Operated) -> None:
    elsewhere = operated.relight.where(RELIGHT_SSH__CLIENT_KEY="/nowhere/key")
    refused = await elsewhere("keys", "rotate", "client")
    assert refused.code == 3
    assert "Type it where a worker runs" in refused.said
    status = await elsewhere("keys", "status")
    assert status.code == 0
    assert "client: no key here" in status.out


async def test_a_new_file_that_a_killed_command_left_is_used(operated: Operated) -> None:
    make_next(operated.ssh.client_key, new_client_key())
    new = operated.keys().fingerprints(KeyKind.CLIENT)[1]
    done = await operated.relight("keys", "rotate", "client")
    assert done.code == 0, done
    assert operated.keys().fingerprints(KeyKind.CLIENT) == (new,)
