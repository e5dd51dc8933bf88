"""The kernel's limits that a few dozen Debian machines on one computer run into."""

import logging
from pathlib import Path

_LOG = logging.getLogger(__name__)

# systemd and sshd watch files: with the kernel's defaults the 22nd machine's sshd does not start.
# The rest is shared by all machines: keyrings and ptys of their sessions, and neighbours.
_LEAST = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
    "kernel/keys/maxkeys": 5000,
    "kernel/keys/maxbytes": 2000000,
    "kernel/pty/max": 8192,
    "net/ipv4/neigh/default/gc_thresh2": 4096,
    "net/ipv4/neigh/default/gc_thresh3": 8192,
}


def raise_limits(proc_sys: Path = Path("/proc/sys")) -> list[str]:
    """Raise what is too low, never lower anything, and return what was raised."""
    raised = []
    # A higher threshold before the lower one that it bounds.
    for name, least in sorted(_LEAST.items(), reverse=True):
        limit = proc_sys / name
        try:
            if int(limit.read_text()) >= least:
                continue
            limit.write_text(str(least))
        except OSError as error:  # in a container: good for a small lab all the same
            _LOG.warning("%s stays as it is: %s", name.replace("/", "."), error)
            continue
        raised.append(name.replace("/", "."))
    return raised
