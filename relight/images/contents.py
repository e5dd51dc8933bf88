"""The contents of a root folder: made the same for every build of the same inputs, and compared."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

EPOCH_SECONDS = 1735689600
"""The time of every file that the build itself wrote: 2025-01-01. Those of packages keep theirs,
unless they are newer."""

REMOVED = (
    *("etc/.pwd.lock", "etc/group-", "etc/gshadow-", "etc/passwd-", "etc/shadow-", "etc/subgid-"),
    *("etc/subuid-", "var/lib/systemd/random-seed", "var/cache/ldconfig/aux-cache"),
    *("var/cache/debconf/config.dat-old", "var/cache/debconf/templates.dat-old"),
    *("var/lib/dpkg/status-old", "var/lib/dpkg/diversions-old", "var/lib/dpkg/statoverride-old"),
    *("var/lib/dpkg/arch-native", "var/lib/cloud", "root/.bash_history", "root/.ssh"),
    *("var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin"),
)
"""What builds leave behind: copies from before, caches, and the identity of one machine."""

EMPTIED = ("tmp", "var/tmp", "run", "var/cache/apt/archives", "var/lib/apt/lists")
"""Folders without anything in them: apt makes those for its own user again."""


def generalise(root: Path) -> None:
    """Remove what one build left: logs, caches, copies from before, host keys, the machine's id."""
    for name in REMOVED:
        _remove(root / name)
    for folder in (root / name for name in EMPTIED):
        for path in folder.iterdir() if folder.is_dir() else ():
            _remove(path)
    for path in _below(root / "var/log"):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def clamp_times(root: Path) -> None:
    """Give everything that is newer than `EPOCH_SECONDS` that time."""
    for path in (root, *_below(root)):
        if path.lstat().st_mtime > EPOCH_SECONDS:
            os.utime(path, (EPOCH_SECONDS, EPOCH_SECONDS), follow_symlinks=False)


def contents_digest(root: Path) -> str:
    """Return the digest of a root folder: names, modes, owners, times, attributes and contents."""
    digest = hashlib.sha256()
    for line in contents(root):
        digest.update(line)
    return digest.hexdigest()


def contents(root: Path) -> Iterator[bytes]:
    """Yield one line for each file of a root folder, in the order of their names."""
    for path in (root, *_below(root)):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        what = b"-"
        if kind == stat.S_IFLNK:
            what = os.fsencode(path.readlink())
        elif kind == stat.S_IFREG:
            with path.open("rb") as file:
                what = hashlib.file_digest(file, "sha256").hexdigest().encode()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        }
        name = os.fsencode(path.relative_to(root))
        head = f"{status.st_mode:o} {status.st_uid} {status.st_gid} {int(status.st_mtime)} "
        device = f"{status.st_rdev} {attributes or ''} "
        yield b"".join((head.encode(), device.encode(), what, b" ", name, b"\n"))


def _below(folder: Path) -> Iterator[Path]:
    """Yield all that is below a folder, ordered by name; links are not followed."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in sorted(folder.iterdir(), key=os.fsencode):
        yield path
        yield from _below(path)
