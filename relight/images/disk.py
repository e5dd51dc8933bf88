"""Checks the files of an image without booting it: a root folder, or a disk.

A disk is mounted read-only in a mount namespace of the check's own, so nothing stays mounted,
however it ends. That needs root. No program of the image is run.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from relight.domain.image.contract import ContractChecked
from relight.domain.text import visible_head
from relight.images.check import CheckUnreadableError, check_script, parse_check
from relight.images.contract_file import ContractFile
from relight.images.programs import NoRootError, completed
from relight.images.requirements import Subject

_CHECK_TIMEOUT = timedelta(minutes=2)
_CONVERSION_TIMEOUT = timedelta(minutes=20)

_QCOW2 = b"QFI\xfb"
_SECTOR_BYTES = 512

_LINUX = {
    "83",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
    "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
}
"""Types of partitions, of DOS and of GPT, that can hold the root: Linux, and its root for amd64 and
arm64."""

# Without `noload` a journal that was not closed would be written back.
_MOUNT = 'mount -t ext4 -o "$1" -- "$2" "$3" && exec sh -s -- "$3"'
_MOUNT_OPTIONS = "ro,noload,nosuid,nodev,noexec,loop"


class DiskError(Exception):
    """A file is not a disk that can be checked, or its root is not one."""


class _Partition(NamedTuple):
    offset_bytes: int
    size_bytes: int


def check_disk(path: Path, file: ContractFile) -> ContractChecked:
    """Check an image against its contract.

    Args:
        path: a root folder, or a disk in qcow2 or raw, which needs root.
        file: the contract.

    Raises:
        DiskError: nothing was checked.
        NoRootError: only root can mount it.
        NoProgramError: a program that is needed is not installed.
    """
    script = check_script(file, Subject.IMAGE)
    if path.is_dir():
        answer = _run(["sh", "-s", "--", str(path)], _CHECK_TIMEOUT, script)
    else:
        answer = _check_mounted(path, script)
    try:
        return parse_check(file, Subject.IMAGE, answer)
    except CheckUnreadableError as error:
        raise DiskError(f"{path}: {error}") from error


def _check_mounted(path: Path, script: str) -> str:
    if os.geteuid() != 0:
        raise NoRootError(f"{path}: only root can mount a disk")
    with _raw(path) as raw, tempfile.TemporaryDirectory(prefix="relight-image-") as folder:
        root = _root_partition(raw)
        size = f"sizelimit={root.size_bytes}"
        options = f"{_MOUNT_OPTIONS},offset={root.offset_bytes},{size}"
        private = ["unshare", "--mount", "--propagation=private", "--"]
        argv = [*private, "sh", "-c", _MOUNT, "sh", options, str(raw), folder]
        return _run(argv, _CHECK_TIMEOUT, script)


@contextmanager
def _raw(path: Path) -> Iterator[Path]:
    """Yield a disk as a raw file; one in qcow2 is copied to a temporary file with holes."""
    try:
        with path.open("rb") as opened:
            is_qcow2 = opened.read(len(_QCOW2)) == _QCOW2
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror}") from error
    if not is_qcow2:
        yield path.absolute()
        return
    _refuse_references(path)
    # Of a name of its own; /tmp may be too small.
    with tempfile.TemporaryDirectory(prefix="relight-image-", dir="/var/tmp") as folder:
        raw = Path(folder) / "disk.raw"
        command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "--", str(path), str(raw)]
        _run(command, _CONVERSION_TIMEOUT)
        yield raw


def _refuse_references(path: Path) -> None:
    """Refuse a disk that has its data in another file: it could name any file of this computer."""
    asked = ["qemu-img", "info", "-f", "qcow2", "--output=json", "--", str(path)]
    described = json.loads(_run(asked, _CHECK_TIMEOUT))
    own = described.get("format-specific", {}).get("data", {})
    if "backing-filename" in described or "data-file" in own:
        raise DiskError(f"{path}: it has its data in another file")


def _root_partition(raw: Path) -> _Partition:
    """Return where the root is: the largest partition of Linux, or a disk without partitions."""
    with raw.open("rb") as opened:
        size_bytes = opened.seek(0, os.SEEK_END)
    listed = _completed(["sfdisk", "--json", "--", str(raw)], _CHECK_TIMEOUT)
    if listed.returncode != 0:
        return _Partition(0, size_bytes)
    table = json.loads(listed.stdout)["partitiontable"]
    sector = table.get("sectorsize", _SECTOR_BYTES)
    linux = [each for each in table.get("partitions", ()) if each["type"].upper() in _LINUX]
    if not linux:
        raise DiskError(f"{raw}: none of its partitions is of Linux")
    largest = max(linux, key=lambda each: each["size"])
    return _Partition(largest["start"] * sector, largest["size"] * sector)


def _run(argv: Sequence[str], timeout: timedelta, stdin: str = "") -> str:
    """Return what a program prints.

    Raises:
        DiskError: it failed, or did not end in time.
    """
    ended = _completed(argv, timeout, stdin)
    if ended.returncode != 0:
        words = visible_head(ended.stderr.strip(), 500) or "it said nothing"
        raise DiskError(f"{argv[0]} ended with {ended.returncode}: {words}")
    return ended.stdout


def _completed(
    argv: Sequence[str], timeout: timedelta, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    try:
        return completed(*argv, stdin=stdin, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise DiskError(f"{argv[0]} did not end within {timeout.total_seconds():.0f} s") from error
