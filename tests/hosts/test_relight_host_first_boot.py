"""The short form of `relight-host`: it installs, starts nothing, and the full one replaces it."""

import hashlib
import shlex
from functools import partial
from pathlib import Path

import pytest

from relight.domain.release import PUSHED_PREFIX, DebFile
from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import File
from relight.hosts.host_settings import HostSettings
from relight.hosts.keys import derive_host_key
from tests.support.apt_repository import PACKAGE, Repository, key_ring, serve
from tests.support.apt_root import UNIT, AptRoot
from tests.support.debs import deb

PRESENT, OTHER = (derive_host_key(bytes([byte] * 32), "de-1-g1") for byte in (1, 2))
VERSION = "0.0.74-1"
CONTENT = deb(PACKAGE, VERSION, "amd64", "xz", "first")
FILE = DebFile(
    architecture="amd64",
    filename=f"{PUSHED_PREFIX}made.deb",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size_bytes=len(CONTENT),
)


@pytest.fixture
def host(tmp_path: Path) -> AptRoot:
    host = AptRoot(tmp_path / "host")
    host.take_short_form()
    (host.root / "etc/ssh/ssh_host_ed25519_key").write_text(PRESENT.private)
    return host


def allows(host: AptRoot, *words: str) -> bool:
    """Whether the host's policy lets a script of a package do something with a service."""
    return host.run(shlex.join([f"{host.root}/usr/sbin/policy-rc.d", *words]))[0] == 0


def test_it_waits_for_a_package_that_is_brought_and_starts_nothing(host: AptRoot) -> None:
    host.configure(pushed=True)
    # It brings the package the first time that the program waits for it.
    brings = shlex.join([str(host.program), *host_program.receive(FILE)[1:]])
    (host.root / "content").write_bytes(CONTENT)
    host.put_program("sleep", f"exec {brings} <{host.root}/content")
    code, output = host.install(VERSION, deb=FILE)
    assert code == 0, output
    assert host.state().is_installed(VERSION)
    for verb in ("start", "restart"):
        assert not allows(host, UNIT, verb)
        assert not allows(host, UNIT.removesuffix(".service"), verb)
        assert allows(host, "other.service", verb)
    assert allows(host, UNIT, "stop")
    # What was installed is on record for the first change.
    host.program.write_bytes(host.full_program())
    record = (host.root / "var/lib/relight/installed").read_text()
    assert record.startswith(f"{VERSION} {FILE.sha256} ")


def test_it_installs_by_apt_and_says_why_it_cannot(host: AptRoot, tmp_path: Path) -> None:
    host.take_short_form(by_apt=True)
    repository = Repository(tmp_path / "repository")
    repository.add(VERSION)
    with key_ring() as keys, serve(repository.root) as server:
        key = keys.make("repository")
        repository.publish(partial(keys.sign, users=[key]))
        host.read_from(server.url, keys.public(key))
        code, output = host.install("9.9.9")
        assert (code, "E: Version '9.9.9' for" in output) == (100, True)
        code, output = host.install(VERSION)
    assert code == 0, output
    assert host.state().is_installed(VERSION)
    assert host.call(*host_program.receive(FILE)[1:]).returncode == 64
    assert host.install(VERSION, deb=FILE)[0] == 64


def settings(host: AptRoot, program: bytes) -> HostSettings:
    configuration = (host.root / "etc/relight/host").read_bytes()
    return HostSettings(
        [
            File(host_program.PROGRAM, "0755", program),
            File(host_program.CONFIGURATION, "0644", configuration),
        ]
    )


def test_the_full_program_takes_its_place_and_writes_the_settings(host: AptRoot) -> None:
    wanted = settings(host, host.full_program())
    ended = host.call("configure", stdin=PRESENT.private + wanted.lines)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert host.program.read_bytes() == host.full_program()
    assert host.call("settings", wanted.sha256(PRESENT)).returncode == 0
    assert not list((host.root / "run/relight").glob("configure.?*[!k]"))  # nothing is left


@pytest.mark.parametrize("key", ["", OTHER.private, PRESENT.public])
def test_no_program_is_run_for_a_caller_that_does_not_know_the_host_key(
    host: AptRoot, key: str
) -> None:
    wanted = settings(host, f"#!/bin/sh\ntouch {host.root}/ran\n".encode())
    before = host.program.read_bytes()
    assert host.call("configure", stdin=key + wanted.lines).returncode == 77
    assert host.program.read_bytes() == before
    assert not (host.root / "ran").exists()


def test_settings_that_the_full_program_refuses_leave_the_short_one(host: AptRoot) -> None:
    damaged = b"PACKAGE=$(id)\n"
    wanted = HostSettings(
        [
            File(host_program.PROGRAM, "0755", host.full_program()),
            File(host_program.CONFIGURATION, "0644", damaged),
        ]
    )
    before = host.program.read_bytes()
    assert host.call("configure", stdin=PRESENT.private + wanted.lines).returncode == 77
    assert host.program.read_bytes() == before
