"""What is in a .deb, read as a stream with limits."""

from pathlib import Path

import pytest

from relight.releases import deb_contents
from relight.releases.deb_contents import read_deb
from relight.releases.deb_control import DebControl
from relight.releases.errors import RepositoryError
from tests.support.debs import build_deb

FILES = {"/usr/bin/box": "program", "/etc/box/box.conf": "port 80\n", f"/opt/{'d/' * 60}long": "x"}


def built(folder: Path, compression: str = "none") -> Path:
    file = folder / "any name.deb"
    build_deb(
        file,
        "box",
        "5:1.0-1",
        "amd64",
        compression=compression,
        depends="libc6",
        files=FILES,
        control_files={"conffiles": "/etc/box/box.conf\n", "postinst": "#!/bin/sh\n"},
        links={"/usr/sbin/box": "../bin/box", "/etc/box/default": "/etc/box/box.conf"},
    )
    return file


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_it_is_read_in_every_compression(tmp_path: Path, compression: str) -> None:
    found = read_deb(built(tmp_path, compression), lambda path: path.startswith("/etc/"))
    assert found.control == DebControl("box", "5:1.0-1", "amd64", depends="libc6")
    assert found.fields["Depends"] == "libc6"
    assert found.conffiles == ("/etc/box/box.conf",)
    assert found.scripts == {"postinst": "#!/bin/sh\n"}
    assert found.links == {"/usr/sbin/box": "../bin/box", "/etc/box/default": "/etc/box/box.conf"}
    assert found.paths == {*FILES, *found.links}
    assert found.texts == {"/etc/box/box.conf": "port 80\n"}


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_one_that_ends_too_early_is_refused(tmp_path: Path, compression: str) -> None:
    file = built(tmp_path, compression)
    whole = file.read_bytes()
    for count in range(0, len(whole) - 512, max(1, len(whole) // 40)):
        file.write_bytes(whole[:count])
        with pytest.raises(RepositoryError):
            read_deb(file, lambda path: True)


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [
        ("MAX_DATA_BYTES", 1024, "its data have more than 1024 bytes"),
        ("MAX_PATHS", 2, "it has more than 2 files"),
        ("MAX_TEXTS", 1, "it has more than 1 units and configuration files"),
    ],
)
def test_what_is_larger_than_the_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, why: str
) -> None:
    monkeypatch.setattr(deb_contents, limit, value)
    with pytest.raises(RepositoryError, match=why):
        read_deb(built(tmp_path, "xz"), lambda path: True)


def test_a_long_file_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb_contents, "MAX_TEXT_BYTES", 3)
    assert read_deb(built(tmp_path), lambda path: path == "/usr/bin/box").texts == {
        "/usr/bin/box": "pro"
    }


def test_what_is_no_archive_of_debian_is_refused(tmp_path: Path) -> None:
    file = built(tmp_path)
    content = file.read_bytes()
    at = content.index(b"data.tar")
    file.write_bytes(content[:at] + b"date.tar" + content[at + 8 :])
    with pytest.raises(RepositoryError, match=r"it has no data\.tar"):
        read_deb(file, lambda path: True)
    file.write_bytes(content[:at] + b"data.tar.xz/    " + content[at + 16 :])
    with pytest.raises(RepositoryError, match=r"its data\.tar\.xz cannot be read"):
        read_deb(file, lambda path: True)
    with pytest.raises(RepositoryError, match="it cannot be read: is a directory"):
        read_deb(tmp_path, lambda path: True)
