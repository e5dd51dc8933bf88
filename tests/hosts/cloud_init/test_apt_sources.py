"""The apt sources of a host, as written at its first boot, read by the real apt."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import pytest
from pydantic import SecretStr

from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import APT_LOGINS, AptSource, File, source_files
from relight.releases.source import Login
from tests.releases.test_repository_kinds import publish
from tests.support.apt_repository import KeyRing, Repository, key_ring, serve
from tests.support.apt_root import AptRoot
from tests.support.debs import build_deb

LOGIN = Login("relight", SecretStr("squirrel"))


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyRing]:
    with key_ring() as keys:
        for name in ("first", "second"):
            keys.make(name)
        yield keys


def source(url: str, key: bytes, number: int = 1, suite: str = "stable") -> AptSource:
    return AptSource(
        path=PurePosixPath("/etc/apt", host_program.SOURCES_FILE),
        url=url,
        suite=suite,
        component="main",
        signing_key=key,
        number=number,
    )


def written(host: AptRoot, *sources: AptSource) -> Sequence[File]:
    """Write the files of these sources into a host, and return them."""
    first, *more = sources
    files = source_files(AptSource(**{**vars(first), "more": tuple(more)}))
    for file in files:
        target = host.root / file.path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Paths in it are the host's.
        content = re.sub(rb"(?<=Signed-By: )/", f"{host.root}/".encode(), file.content)
        target.write_bytes(content)
        target.chmod(int(file.mode, 8))
    return files


def apt_lists(host: AptRoot) -> str:
    code, output = host.run("apt-get -q -o APT::Update::Error-Mode=any update 2>&1")
    assert code == 0, output
    return host.run("apt-cache madison lantern-box")[1]


def test_apt_reads_a_flat_repository_and_one_with_a_login_by_their_own_keys(
    keys: KeyRing, tmp_path: Path
) -> None:
    first = Repository(tmp_path / "first", ("amd64",))
    first.add("0.0.74")
    first.publish(partial(keys.sign, users=["first@example.org"]))
    flat = tmp_path / "flat"
    flat.mkdir()
    build_deb(flat / "lantern-box.deb", "lantern-box", "0.0.75-1", "amd64")
    publish(flat, partial(keys.sign, users=["second@example.org"]))
    host = AptRoot(tmp_path / "host")
    with serve(first.root) as served, serve(flat) as second:
        second.login = LOGIN.headers["Authorization"]
        with_login = {"user": LOGIN.user, "password": LOGIN.password}
        flat_source = source(second.url, keys.public("second@example.org"), 2, "./")
        files = written(
            host,
            source(served.url, keys.public("first@example.org")),
            AptSource(**{**vars(flat_source), **with_login}),
        )
        listed = apt_lists(host)
        assert "0.0.74" in listed
        assert "0.0.75-1" in listed
        assert set(served.logins) == {None}
        assert LOGIN.headers["Authorization"] in second.logins
    modes = {str(file.path): file.mode for file in files}
    assert modes[str(APT_LOGINS)] == "0600"
    for file in files:
        assert (b"squirrel" in file.content) == (file.path == APT_LOGINS)


def test_without_a_login_there_is_no_file_of_logins(keys: KeyRing, tmp_path: Path) -> None:
    host = AptRoot(tmp_path / "host")
    files = written(host, source("http://packages.example", keys.public("first@example.org")))
    assert APT_LOGINS not in [file.path for file in files]
