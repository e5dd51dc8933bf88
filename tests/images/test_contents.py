"""The digest of a root folder, and what no image keeps of its build."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relight.images.contents import EPOCH_SECONDS, clamp_times, contents_digest, generalise

OLD_SECONDS = EPOCH_SECONDS - 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small root folder; all times in it are the same."""
    root = tmp_path / "root"
    for name, text in {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
        "etc/machine-id": "5f0d0a6c7d7f4a0c8f7e6d5c4b3a2910\n",
        "etc/ssh/ssh_host_ed25519_key": "a key\n",
        "etc/shadow-": "root:*:1:::\n",
        "usr/bin/tool": "#!/bin/sh\n",
        "var/log/apt/history.log": "installed\n",
        "var/log/dpkg.log": "installed\n",
        "var/lib/cloud/instance/id": "i-1\n",
        "var/lib/apt/lists/deb.example_Packages": "Package: a\n",
        "var/cache/apt/archives/partial/a.deb": "half\n",
        "tmp/left": "over\n",
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "usr/bin/link").symlink_to("tool")
    for path in (root, *root.rglob("*")):
        os.utime(path, (OLD_SECONDS, OLD_SECONDS), follow_symlinks=False)
    return root


def _replace_link(root: Path) -> None:
    (root / "usr/bin/link").unlink()
    (root / "usr/bin/link").symlink_to("other")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/ksh\n"),
        lambda root: (root / "usr/bin/tool").chmod(0o755),
        lambda root: (root / "usr/bin/tool").rename(root / "usr/bin/tools"),
        lambda root: (root / "etc/new").touch(),
        lambda root: (root / "etc/new").mkdir(),
        lambda root: (root / "tmp/left").unlink(),
        lambda root: os.utime(root / "etc/passwd", (OLD_SECONDS, OLD_SECONDS + 1)),
        lambda root: os.setxattr(root / "usr/bin/tool", "user.note", b"x"),
        _replace_link,
    ],
    ids=["content", "mode", "name", "file", "folder", "gone", "time", "attribute", "link"],
)
def test_each_change_of_a_root_folder_is_in_its_digest(
    root: Path, change: Callable[[Path], object]
) -> None:
    before = contents_digest(root)
    assert contents_digest(root) == before
    change(root)
    assert contents_digest(root) != before


def test_the_digest_is_that_of_a_copy_elsewhere(root: Path, tmp_path: Path) -> None:
    os.system(f"cp --archive {root} {tmp_path}/copy")  # noqa: S605 - paths of pytest
    assert contents_digest(tmp_path / "copy") == contents_digest(root)


def test_nothing_of_a_machine_or_a_build_is_left(root: Path) -> None:
    generalise(root)
    assert (root / "etc/machine-id").read_bytes() == b""
    left = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    assert left == {"etc/passwd", "etc/machine-id", "usr/bin/tool", "usr/bin/link"}
    assert (root / "var/log/apt").is_dir()
    # Which account apt gives this one to depends on the computer that built.
    assert not (root / "var/cache/apt/archives/partial").exists()


def test_what_the_build_wrote_has_one_time_and_packages_keep_theirs(root: Path) -> None:
    written = root / "etc/written"
    written.symlink_to("passwd")
    clamp_times(root)
    assert written.lstat().st_mtime == EPOCH_SECONDS
    assert (root / "etc").stat().st_mtime == EPOCH_SECONDS
    assert (root / "usr/bin/tool").stat().st_mtime == OLD_SECONDS
