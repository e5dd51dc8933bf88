"""A disk is checked as its files are, and nothing of it stays mounted."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from relight.images.contract_file import parse_contract
from relight.images.disk import DiskError, check_disk
from tests.images.roots import root_of

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(each) is None for each in ("qemu-img", "sfdisk")),
    reason="needs root, qemu-img and sfdisk",
)

CONTRACT = parse_contract(b"packages:\n  - tzdata\n  - netbase\nmasked: [a.timer]\n", "mine.yaml")
MIB = 1024 * 1024
LINUX, EFI = "L", "U"


def run(*argv: str | Path, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, capture_output=True, check=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return root_of(CONTRACT, tmp_path / "root")


def disk(root: Path, folder: Path, kind: str = LINUX) -> Path:
    """Return a raw disk with a partition for EFI and one with a root's files."""
    file = folder / "disk.raw"
    with file.open("wb") as opened:
        opened.truncate(24 * MIB)
    run("sfdisk", file, stdin=f"label: gpt\nsize=2MiB, type={EFI}\nsize=16MiB, type={kind}\n")
    offset = f"offset={3 * MIB}"
    run("mke2fs", "-q", "-t", "ext4", "-E", offset, "-d", root, file, "16M")
    return file


def as_qcow2(raw: Path) -> Path:
    file = raw.with_suffix(".qcow2")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, file)
    return file


def named(path: Path) -> list[str]:
    return [str(each) for each in check_disk(path, CONTRACT).violations]


def test_folder_raw_disk_and_qcow2_say_the_same(root, tmp_path):
    assert named(root) == []
    (root / "etc/systemd/system/a.timer").unlink()
    raw = disk(root, tmp_path)
    said = ["mine.yaml:4 masked: a.timer is not masked: absent"]
    assert named(root) == said
    assert named(raw) == said
    assert named(as_qcow2(raw)) == said


def test_a_disk_without_partitions_is_checked(root, tmp_path):
    file = tmp_path / "whole.raw"
    run("mke2fs", "-q", "-t", "ext4", "-d", root, file, "16M")
    assert named(file) == []


def test_a_check_changes_no_byte_and_leaves_no_mount(root, tmp_path):
    raw = disk(root, tmp_path)
    before = raw.read_bytes()
    mounts = Path("/proc/mounts").read_text()
    check_disk(raw, CONTRACT)
    assert raw.read_bytes() == before
    assert Path("/proc/mounts").read_text() == mounts
    loops = subprocess.run(["losetup", "-j", raw], capture_output=True, text=True, check=True)
    assert loops.stdout == ""


def test_a_disk_that_refers_to_another_file_is_refused(root, tmp_path):
    raw = disk(root, tmp_path)
    above = tmp_path / "above.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", raw, above)
    with pytest.raises(DiskError, match="it has its data in another file"):
        check_disk(above, CONTRACT)


def test_what_is_no_disk_is_refused_in_words(root, tmp_path):
    text = tmp_path / "notes.raw"
    text.write_text("not a disk" * 1000)
    with pytest.raises(DiskError, match="unshare ended with"):
        check_disk(text, CONTRACT)
    with pytest.raises(DiskError, match="none of its partitions is of Linux"):
        check_disk(disk(root, tmp_path, kind=EFI), CONTRACT)
    with pytest.raises(DiskError, match="No such file"):
        check_disk(tmp_path / "none.raw", CONTRACT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DiskError, match="ended with 1"):
        check_disk(tmp_path / "empty", CONTRACT)
