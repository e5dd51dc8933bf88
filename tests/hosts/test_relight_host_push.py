"""`relight-host receive`, and the installation of a package that was received."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from relight.domain.release import PUSHED_PREFIX, DebFile
from relight.hosts import host_program
from relight.hosts.host_program import Change
from tests.support.apt_repository import PACKAGE
from tests.support.apt_root import AptRoot
from tests.support.debs import deb

VERSION = "0.0.74-1"
CONTENT = deb(PACKAGE, VERSION, "amd64", "xz", "first")


@pytest.fixture
def host(tmp_path: Path) -> AptRoot:
    host = AptRoot(tmp_path / "host")
    host.configure(pushed=True)
    return host


def file_of(content: bytes) -> DebFile:
    return DebFile(
        architecture="amd64",
        filename=f"{PUSHED_PREFIX}made.deb",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )


def call(host: AptRoot, argv: list[str], stdin: bytes = b"") -> tuple[int, str]:
    ended = subprocess.run(
        [str(host.program), *argv[1:]],
        env={
            "APT_CONFIG": str(host.root / "apt.conf"),
            "PATH": f"{host.root / 'programs'}:{os.environ['PATH']}",
        },
        input=stdin,
        capture_output=True,
        check=False,
    )
    return ended.returncode, (ended.stdout + ended.stderr).decode()


def kept(host: AptRoot) -> set[str]:
    folder = host.root / "var/lib/relight/packages"
    return {file.name for file in folder.iterdir()} if folder.exists() else set()


def test_a_package_is_received_once_and_installed(host: AptRoot) -> None:
    file = file_of(CONTENT)
    assert call(host, host_program.received(file))[0] == 1
    assert call(host, host_program.receive(file), CONTENT) == (0, "")
    assert call(host, host_program.received(file))[0] == 0
    assert (host.root / "var/lib/relight/packages").stat().st_mode & 0o777 == 0o700
    code, output = call(host, host_program.install(Change(VERSION, deb=file)))
    assert code == 0, output
    assert host.state().is_installed(VERSION)
    assert list((host.root / "var/tmp").iterdir()) == []


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", b"other"])
def test_what_differs_from_its_digest_is_refused_and_not_kept(
    host: AptRoot, content: bytes
) -> None:
    code, output = call(host, host_program.receive(file_of(CONTENT)), content)
    assert (code, kept(host)) == (100, set())
    assert "relight: refused: the SHA-256 of what was received is not" in output


def test_a_package_with_another_version_in_it_is_refused(host: AptRoot) -> None:
    file = file_of(CONTENT)
    call(host, host_program.receive(file), CONTENT)
    code, output = call(host, host_program.install(Change("0.0.75", deb=file)))
    assert code == 100
    assert f"is not {PACKAGE} 0.0.75 amd64, but {PACKAGE} {VERSION} amd64" in output
    assert not host.state().version


def test_a_package_that_was_not_pushed_is_refused(host: AptRoot) -> None:
    code, output = call(host, host_program.dry_run(Change(VERSION, deb=file_of(CONTENT))))
    assert code == 100
    assert "was pushed" in output


def test_a_host_that_takes_none_refuses_each_call(host: AptRoot) -> None:
    host.configure(deb_urls="https://files.example/")
    for argv in (
        host_program.receive(file_of(CONTENT)),
        host_program.install(Change(VERSION, deb=file_of(CONTENT))),
    ):
        code, output = call(host, argv, CONTENT)
        assert (code, kept(host)) == (64, set())
        assert "takes no packages from its caller" in output


def test_the_newest_few_are_kept(host: AptRoot) -> None:
    files = [file_of(b"%d" % number) for number in range(5)]
    for number, file in enumerate(files):
        assert call(host, host_program.receive(file), b"%d" % number)[0] == 0
        os.utime(host.root / f"var/lib/relight/packages/{file.sha256}.deb", (number, number))
    assert kept(host) == {f"{file.sha256}.deb" for file in files[-3:]}


def test_a_dry_run_leaves_no_file_and_apts_archives_as_they_are(host: AptRoot) -> None:
    file = file_of(CONTENT)
    assert call(host, host_program.receive(file), CONTENT) == (0, "")
    archive = host.root / "var/cache/apt/archives/other_1.0_all.deb"
    archive.write_text("kept for a rollback")
    code, output = call(host, host_program.dry_run(Change(VERSION, deb=file)))
    assert (code, "relight: free in " in output) == (0, True)
    assert archive.exists()
    assert list((host.root / "var/tmp").iterdir()) == []
