"""Snapshots: the disk of a provisioned machine, as an image of further machines.

A machine that starts from a snapshot does not run cloud-init: it is up in about a second. Its host
name, machine id and network are its own. It has no SSH host keys except those in its files.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from lab.commands import run

# The identity of the machine that was copied. Each machine gets its own.
_IDENTITY = (
    *("etc/machine-id", "etc/hostname", "var/lib/systemd/random-seed"),
    "var/lib/cloud/seed",
)
_CLOUD_INIT_OFF = "etc/cloud/cloud-init.disabled"


def take(upper: Path, target: Path) -> None:
    """Copy the overlay layer of a stopped machine to `target`, without the machine's identity.

    Raises:
        LabError: the copy failed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # An archive copy keeps what overlays mark deleted files and replaced folders with.
    run("cp", "--archive", upper, target)
    for path in (*(target / name for name in _IDENTITY), *target.glob("etc/ssh/ssh_host_*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    disabled = target / _CLOUD_INIT_OFF
    disabled.parent.mkdir(parents=True, exist_ok=True)
    disabled.touch()


def write_files(upper: Path, files: Mapping[str, str]) -> None:
    """Write files, readable by root only, to the overlay layer of a machine that has not booted."""
    for name, content in files.items():
        path = upper / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(content)
