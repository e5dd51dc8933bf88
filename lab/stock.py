"""The image of a stock cloud: the base image, changed to be as awkward as those of real clouds.

It has no package lists, and dpkg leaves documentation out. When cloud-init comes to its last stage,
the lock of the package lists is held as apt-daily does, and then that of dpkg as
unattended-upgrades do. What holds them is a stand-in (Debian's own units wait for cloud-init, those
of others do not): a machine of the lab cannot reach Debian's mirrors. The image is a layer over the
base image, so there is nothing to build.
"""

import os
import shutil
from pathlib import Path

LISTS_SECONDS, UPGRADE_SECONDS = 10, 5
"""How long apt-daily and unattended-upgrades take, from the start of cloud-init's last stage."""

# Its parent ends once the first lock is held: a lock of fcntl is not inherited by a child.
_PROGRAM = f"""\
import fcntl, os, time
reading, writing = os.pipe()
if os.fork():
    os.read(reading, 1)
    os._exit(0)
for path, seconds in (
    ("/var/lib/apt/lists/lock", {LISTS_SECONDS}),
    ("/var/lib/dpkg/lock-frontend", {UPGRADE_SECONDS}),
):
    with open(path, "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        os.write(writing, b".")
        time.sleep(seconds)
"""
_UNIT = """\
[Unit]
Description=The activities of apt-daily and unattended-upgrades
Before=cloud-final.service

[Service]
Type=forking
ExecStart=/usr/bin/python3 /usr/lib/apt/daily.py
"""
_EXCLUDES = """\
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/doc/*/copyright
"""
_PERIODIC = """\
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
"""


def make_layer(folder: Path) -> Path:
    """Write the layer into a folder, instead of what a killed lab left there, and return it."""
    if folder.exists():
        shutil.rmtree(folder)
    units = "etc/systemd/system"
    files = {
        f"{units}/image-updates.service": _UNIT,
        "usr/lib/apt/daily.py": _PROGRAM,
        "etc/dpkg/dpkg.cfg.d/01-excludes": _EXCLUDES,
        "etc/apt/apt.conf.d/20auto-upgrades": _PERIODIC,
    }
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    wanted = folder / units / "cloud-final.service.wants"
    wanted.mkdir()
    (wanted / "image-updates.service").symlink_to(f"/{units}/image-updates.service")
    partial = folder / "var/lib/apt/lists/partial"
    partial.mkdir(parents=True)
    # It hides the folder of the base image instead of being merged with it.
    os.setxattr(partial.parent, "trusted.overlay.opaque", b"y")
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return folder
