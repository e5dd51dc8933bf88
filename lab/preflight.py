"""The requirements of the lab, and the kernel limits that it raises.

The imports are light, and work on every operating system.
"""

import logging
import os
import shutil
import sys
from pathlib import Path

from lab import cgroups

_LOG = logging.getLogger(__name__)

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
"""Every program that the lab runs, and its Debian package."""

_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}

# systemd and sshd use inotify: with the kernel's defaults the 22nd machine's sshd does not start.
# All machines share the others: keyrings and ptys of their sessions, and the neighbour table.
_MINIMUM_LIMITS = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
    "kernel/keys/maxkeys": 5000,
    "kernel/keys/maxbytes": 2000000,
    "kernel/pty/max": 8192,
    "net/ipv4/neigh/default/gc_thresh2": 4096,
    "net/ipv4/neigh/default/gc_thresh3": 8192,
}


def preflight() -> list[str]:
    """Return what this computer lacks to run the lab, one line each; empty if it can run it."""
    if sys.platform != "linux":
        return [f"Linux: this is {sys.platform}"]
    return [*_lacking_privileges(), *_lacking_kernel(), *_lacking_programs()]


def raise_limits(proc_sys: Path = Path("/proc/sys")) -> list[str]:
    """Raise each limit that is too low; return the names of the raised ones."""
    raised = []
    # Reversed, so that gc_thresh3 is raised before gc_thresh2, which it bounds.
    for name, minimum in sorted(_MINIMUM_LIMITS.items(), reverse=True):
        limit = proc_sys / name
        try:
            if int(limit.read_text()) >= minimum:
                continue
            limit.write_text(str(minimum))
        except OSError as error:  # in a container; a small lab works with the defaults
            _LOG.warning("%s cannot be raised: %s", name.replace("/", "."), error)
            continue
        raised.append(name.replace("/", "."))
    return raised


def _lacking_privileges() -> list[str]:
    if os.geteuid() != 0:
        return ["root: the lab creates mounts, namespaces and network links"]
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return [
        f"the capability {name}: root is restricted here, as in an unprivileged container"
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
        lacking.append("the file system overlay in this kernel")
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
