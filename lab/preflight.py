"""What a computer needs to carry the lab. Light: any program may ask, on any system."""

import os
import shutil
import sys
from pathlib import Path

from lab import cgroups

_PROGRAMS = {
    "apt-ftparchive": "apt-utils",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "gcc": "gcc",
    "gpg": "gnupg",
    "gpgconf": "gnupg",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}
"""Every program that the lab runs, and the Debian package that has it."""

_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


def preflight() -> list[str]:
    """Return what this computer lacks to carry the lab, one line each; empty when it can."""
    if sys.platform != "linux":
        return [f"Linux: this is {sys.platform}"]
    return [*_lacking_power(), *_lacking_kernel(), *_lacking_programs()]


def _lacking_power() -> list[str]:
    if os.geteuid() != 0:
        return ["root: the lab mounts, and makes namespaces and network links"]
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return [
        f"the capability {name}: this root is confined, as in an unprivileged container"
        for name, bit in _CAPABILITIES.items()
        if not effective >> bit & 1
    ]


def _lacking_kernel() -> list[str]:
    lacking = []
    if cgroups.root() is None:
        lacking.append("cgroup v2, mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified")
    modules = Path("/lib/modules", os.uname().release, "kernel/fs/overlayfs")
    known = Path("/proc/filesystems").read_text().split()
    if "overlay" not in known and not modules.is_dir():
        lacking.append("the file system overlay, in this kernel")
    return lacking


def _lacking_programs() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    lacking = [
        f"the program {program} (Debian package {package})"
        for program, package in _PROGRAMS.items()
        if shutil.which(program, path=path) is None
    ]
    if not any(Path("/usr/lib").glob("*/libc.a")):
        lacking.append("the static C library libc.a (Debian package libc6-dev)")
    return lacking
