"""`relight-host configure`: who may change a host's settings, and what they may be."""

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import cast

import pytest

from relight.domain.service import Service
from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import AptSource, File, source_files
from relight.hosts.host_settings import HostSettings, ensure
from relight.hosts.keys import derive_host_key
from relight.hosts.observation import parse
from relight.hosts.shell import Completed, Shell
from tests.support.apt_repository import COMPONENT, PACKAGE, SUITE, Repository, key_ring, serve
from tests.support.apt_root import AptRoot
from tests.support.stub_systemd import StubSystemd

PRESENT, OTHER = (derive_host_key(bytes([byte] * 32), "de-1-g1") for byte in (1, 2))
SERVICE = Service(PACKAGE, "other.service", "/usr/bin/other", timedelta(), packages=("more",))
SOURCE = "Types: deb\nURIs: http://r.example\nSuites: stable\nComponents: main\nSigned-By: {}\n"


@pytest.fixture
def host(tmp_path: Path) -> AptRoot:
    host = AptRoot(tmp_path / "host")
    (host.root / "etc/ssh/ssh_host_ed25519_key").write_text(PRESENT.private)
    StubSystemd(host)
    return host


def file(path: str, content: bytes) -> File:
    return File(PurePosixPath("/etc/apt", path), "0644", content)


def program(host: AptRoot) -> File:
    """The program that the host has."""
    return File(host_program.PROGRAM, "0755", host.program.read_bytes())


def told(configuration: str) -> File:
    return File(host_program.CONFIGURATION, "0644", configuration.encode())


def settings(
    host: AptRoot, key: bytes = b"\x98key", *, configuration: str = "", source: str = ""
) -> HostSettings:
    keyring = f"{host.root}/etc/apt/keyrings/relight.gpg"
    text = source or SOURCE.format(keyring)
    suffix = "asc" if key.startswith(b"-") else "gpg"
    return HostSettings(
        [
            program(host),
            told(configuration or host_program.configuration(SERVICE, "")),
            file(host_program.SOURCES_FILE, text.encode()),
            file(f"keyrings/relight.{suffix}", key),
        ]
    )


def configure(
    host: AptRoot, settings: HostSettings, key: str = PRESENT.private
) -> subprocess.CompletedProcess[str]:
    ended = host.call("configure", stdin=key + settings.lines)
    assert not list((host.root / "run/relight").glob("configure.?*[!k]"))  # nothing is left
    assert "PRIVATE" not in ended.stdout + ended.stderr
    return ended


def observed(host: AptRoot) -> str:
    return parse(host.call("observe").stdout).settings_sha256


def test_the_files_are_written_and_an_observation_has_their_digest(host: AptRoot) -> None:
    wanted = settings(host)
    assert observed(host) != wanted.sha256(PRESENT)
    for _ in range(2):
        ended = configure(host, wanted)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        assert observed(host) == wanted.sha256(PRESENT)
    _, configuration, source, key = wanted.files
    assert (host.root / "etc/relight/host").read_bytes() == configuration.content
    assert (host.root / "etc/apt/sources.list.d/relight.sources").read_bytes() == source.content
    keyring = host.root / "etc/apt/keyrings/relight.gpg"
    assert (keyring.read_bytes(), keyring.stat().st_mode & 0o777) == (key.content, 0o644)


def test_several_sources_have_keys_of_their_own_and_a_login_that_only_root_reads(
    host: AptRoot,
) -> None:
    keyrings, logins = host.root / "etc/apt/keyrings", "auth.conf.d/relight.conf"
    text = "\n".join(SOURCE.format(keyrings / f"relight{part}") for part in (".asc", "-2.gpg"))
    several = [
        file("keyrings/relight.asc", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
        file("keyrings/relight-2.gpg", b"\x98second"),
        file(host_program.SOURCES_FILE, text.encode()),
        file(logins, b"machine http://r.example login ann password x\n"),
    ]
    configuration = told(host_program.configuration(SERVICE, ""))
    wanted = HostSettings([program(host), configuration, *several])
    ended = configure(host, wanted)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert observed(host) == wanted.sha256(PRESENT)
    assert (host.root / "etc/apt" / logins).stat().st_mode & 0o777 == 0o600
    # What is not configured any more is gone, the login first of all.
    assert configure(host, settings(host)).returncode == 0
    assert observed(host) == settings(host).sha256(PRESENT)
    assert [each.name for each in keyrings.iterdir()] == ["relight.gpg"]
    assert not (host.root / "etc/apt" / logins).exists()


@dataclass
class OnRoot:
    """A shell that calls the program of a host without SSH."""

    host: AptRoot

    async def run(self, argv: Sequence[str], stdin: str = "", **_: object) -> Completed:
        done = self.host.call(*argv[1:], stdin=stdin)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


def with_password(host: AptRoot, password: str) -> HostSettings:
    login = f"machine http://r.example login ann password {password}\n"
    return HostSettings(
        [*settings(host).files, file("auth.conf.d/relight.conf", login.encode())],
    )


def test_nobody_without_the_host_key_can_try_passwords_with_the_digest(host: AptRoot) -> None:
    """It is an argument of calls, which each user of the host may read."""
    wanted = with_password(host, "secret")
    assert configure(host, wanted).returncode == 0
    digest = observed(host)
    assert digest == wanted.sha256(PRESENT)
    contents = {str(each.path): each.content for each in wanted.files}
    for known in ("", PRESENT.public, OTHER.private):
        guess = b"".join(contents[path] for path in sorted(contents))
        assert digest != hashlib.sha256(known.encode() + guess).hexdigest()
    call = ["swap", "relight-a.service", "0", "600"]
    changed = with_password(host, "changed").sha256(PRESENT)
    refused = host.call(*call, changed, "1.0", "upgrade")
    assert refused.returncode == host_program.OTHER_SETTINGS_EXIT_CODE


async def test_a_host_that_has_the_second_key_of_a_rotation_keeps_its_settings(
    host: AptRoot,
) -> None:
    wanted = settings(host)
    assert configure(host, wanted).returncode == 0
    written = host.program.stat().st_ino
    shell = cast("Shell", OnRoot(host))
    await ensure(shell, wanted, [OTHER, PRESENT])
    assert host.program.stat().st_ino == written
    await ensure(shell, with_password(host, "secret"), [OTHER, PRESENT])
    assert observed(host) == with_password(host, "secret").sha256(PRESENT)


def test_a_key_of_the_other_form_replaces_the_first(host: AptRoot) -> None:
    assert configure(host, settings(host)).returncode == 0
    armoured = settings(
        host,
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
        source=SOURCE.format(f"{host.root}/etc/apt/keyrings/relight.asc"),
    )
    assert configure(host, armoured).returncode == 0
    names = [file.name for file in (host.root / "etc/apt/keyrings").iterdir()]
    assert names == ["relight.asc"]
    assert observed(host) == armoured.sha256(PRESENT)


@pytest.mark.parametrize("key", ["", OTHER.private, PRESENT.public, PRESENT.private[:100]])
@pytest.mark.parametrize("there", [True, False])
def test_a_caller_that_does_not_know_the_host_key_is_refused(
    host: AptRoot, key: str, there: bool
) -> None:
    if not there:
        (host.root / "etc/ssh/ssh_host_ed25519_key").unlink()
    before = observed(host)
    assert configure(host, settings(host), key).returncode == 77
    assert observed(host) == before


@pytest.mark.parametrize(
    "more",
    [
        {"configuration": "PACKAGE=$(touch /tmp/x)\nUNIT=a.service\nEXECUTABLE=/a\n"},
        {"configuration": "PACKAGE=ab\nUNIT=a.service\nEXECUTABLE=/a\npath=/tmp\n"},
        {"configuration": "PACKAGE=ab; id\nUNIT=a.service\nEXECUTABLE=/a\n"},
        {"configuration": "PACKAGE='ab'`id`\nUNIT=a.service\nEXECUTABLE=/a\n"},
        {"configuration": "PACKAGE=ab\nUNIT=a.socket\nEXECUTABLE=/a\n"},
        {"configuration": "PACKAGE=ab\nPACKAGES='x -o'\nUNIT=a.service\nEXECUTABLE=/a\n"},
        {"configuration": "PACKAGE=ab\n"},
        {"source": "Types: deb\nURIs: http://r.example\nTrusted: yes\n"},
        {"source": "Types: deb\nSigned-By: /tmp/key.gpg\n"},
        {"source": "deb [trusted=yes] http://r.example stable main\n"},
    ],
)
def test_settings_that_would_do_more_are_refused(host: AptRoot, more: dict[str, str]) -> None:
    before = observed(host)
    wanted = settings(
        host, configuration=more.get("configuration", ""), source=more.get("source", "")
    )
    assert configure(host, wanted).returncode in {64, 77}
    assert observed(host) == before
    assert not Path("/tmp/x").exists()


def test_a_swap_begins_nothing_on_a_host_with_other_settings(host: AptRoot) -> None:
    wanted = settings(host)
    call = ["swap", "relight-a.service", "0", "600", wanted.sha256(PRESENT), "1.0", "upgrade"]
    refused = host.call(*call)
    assert (refused.returncode, refused.stdout) == (host_program.OTHER_SETTINGS_EXIT_CODE, "")
    assert configure(host, wanted).returncode == 0
    assert host.call(*call).returncode == 0


def test_the_repositorys_key_is_rotated_with_both_trusted_meanwhile(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository", ("amd64",))
    for version in ("1", "2", "3"):
        repository.add(version)
    host = AptRoot(tmp_path / "host")
    (host.root / "etc/ssh/ssh_host_ed25519_key").write_text(PRESENT.private)
    service = Service(PACKAGE, "lantern-box.service", "/usr/bin/lantern-box", timedelta())
    with key_ring() as keys, serve(repository.root) as served:
        old, new = keys.make("old"), keys.make("new")

        def trusting(*users: str) -> HostSettings:
            path = PurePosixPath("/etc/apt", host_program.SOURCES_FILE)
            certificates = b"".join(keys.public(user) for user in users)
            source = AptSource(path, served.url, SUITE, COMPONENT, certificates)
            key, text = source_files(source)
            moved = text.content.replace(b"/etc/apt", f"{host.root}/etc/apt".encode())
            configuration = told(host_program.configuration(service, ""))
            sources = file(host_program.SOURCES_FILE, moved)
            return HostSettings([program(host), configuration, key, sources])

        def install(version: str, signed_by: str, *trusted: str) -> int:
            assert configure(host, trusting(*trusted)).returncode == 0
            repository.publish(partial(keys.sign, users=[signed_by]))
            return host.install(version)[0]

        assert install("1", old, old) == 0
        assert install("2", old, old, new) == 0
        assert install("2", new, old, new) == 0
        assert install("3", new, new) == 0
        assert install("3", old, new) == 100


def test_the_program_itself_is_replaced_and_an_invalid_one_is_refused(host: AptRoot) -> None:
    wanted = settings(host)
    newer = File(host_program.PROGRAM, "0755", wanted.files[0].content + b"# newer\n")
    assert configure(host, HostSettings([newer, *wanted.files[1:]])).returncode == 0
    assert host.program.read_bytes() == newer.content
    assert host.program.stat().st_mode & 0o777 == 0o755
    broken = File(host_program.PROGRAM, "0755", b"#!/bin/sh\nif\n")
    assert configure(host, HostSettings([broken, *wanted.files[1:]])).returncode == 77
    assert host.program.read_bytes() == newer.content


@pytest.mark.parametrize(
    "line", ["../passwd eA==", "relight.sources.d eA==", "sources eA==", "host %", "relight-x eA=="]
)
def test_a_file_that_is_none_of_the_settings_is_refused(host: AptRoot, line: str) -> None:
    before = observed(host)
    ended = host.call("configure", stdin=f"{PRESENT.private}{line}\n")
    assert ended.returncode == 77
    assert observed(host) == before


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("auth.conf.d/relight.conf", b"machine http://r.example\n"),
        ("keyrings/relight-2.gpg", b"\x98unnamed"),
        ("keyrings/relight.asc", b""),
    ],
)
def test_a_login_or_a_key_that_is_not_well_formed_is_refused(
    host: AptRoot, path: str, content: bytes
) -> None:
    before, wanted = observed(host), settings(host)
    more = HostSettings([*wanted.files, file(path, content)])
    assert configure(host, more).returncode == 77
    assert observed(host) == before


def test_a_newer_configuration_may_have_names_that_the_program_does_not_know(host: AptRoot) -> None:
    configuration = host_program.configuration(SERVICE, "") + "NEWER='a b'\n"
    wanted = settings(host, configuration=configuration)
    assert configure(host, wanted).returncode == 0
    assert observed(host) == wanted.sha256(PRESENT)


@pytest.mark.parametrize("damage", ["", "PACKAGE=ab; id\n", "("])
def test_a_damaged_configuration_is_replaced(host: AptRoot, damage: str) -> None:
    wanted = settings(host)
    (host.root / "etc/relight/host").write_text(damage)
    call = ["swap", "relight-a.service", "0", "600", wanted.sha256(PRESENT), "1.0", "upgrade"]
    assert host.call(*call).returncode == host_program.OTHER_SETTINGS_EXIT_CODE
    assert configure(host, wanted).returncode == 0
    assert observed(host) == wanted.sha256(PRESENT)


def test_a_host_that_fetches_by_url_from_now_on_keeps_no_apt_source(host: AptRoot) -> None:
    assert configure(host, settings(host)).returncode == 0
    by_url = host_program.configuration(SERVICE, "http://files.example/")
    wanted = HostSettings([program(host), told(by_url)])
    deb = ["http://files.example/a.deb", 64 * "0", "7", "amd64"]
    call = ["swap", "relight-a.service", "0", "600", wanted.sha256(PRESENT), "1.0", "upgrade", *deb]
    assert host.call(*call).returncode == host_program.OTHER_SETTINGS_EXIT_CODE
    assert configure(host, wanted).returncode == 0
    assert observed(host) == wanted.sha256(PRESENT)
    assert not list((host.root / "etc/apt/keyrings").iterdir())
    assert not (host.root / "etc/apt" / host_program.SOURCES_FILE).exists()
    assert host.call(*call).returncode == 0


def test_settings_that_are_too_large_are_refused_and_not_cut(host: AptRoot) -> None:
    before = observed(host)
    wanted = settings(host, b"\x98" * 300_000)
    assert configure(host, wanted).returncode == 77
    assert observed(host) == before
