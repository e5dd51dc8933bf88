"""The control plane is locked out: hosts revoke its key, or a worker has another key or secret."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from devkit.chaos.distrust.fleet import DistrustFleet

_KEYS, _RULES = "/home/relight/.ssh/authorized_keys", "/etc/sudoers.d/90-cloud-init-users"

ON_HOSTS = {
    "client key removed": (f"mv {_KEYS} {_KEYS}.away", f"mv {_KEYS}.away {_KEYS}"),
    "client key expired": (
        f"""cp -p {_KEYS} {_KEYS}.away && sed -i 's/^/expiry-time="20200101" /' {_KEYS}""",
        f"mv {_KEYS}.away {_KEYS}",
    ),
    "sudo rule removed": (f"mv {_RULES} /root/away", f"mv /root/away {_RULES}"),
}
"""What is done on each host, and how it is undone."""

AT_WORKER = ("ssh_client_key", "host_key_secret")
"""The files of which a worker may have another."""


@asynccontextmanager
async def revoked_key(fleet: DistrustFleet, rng: random.Random) -> AsyncIterator[str]:
    """Let all hosts, or at least half of them, lock the control plane out until the block ends."""
    what = rng.choice(sorted(ON_HOSTS))
    do, undo = ON_HOSTS[what]
    count = len(fleet.judge.in_use)
    keys = fleet.some(rng, *rng.choice([(count, count), ((count + 1) // 2, count)]))
    await fleet.on_hosts(keys, do)
    try:
        yield f"{what} on {len(keys)} of {count}"
    finally:
        await fleet.on_hosts(keys, undo)


@asynccontextmanager
async def wrong_secret(fleet: DistrustFleet, rng: random.Random) -> AsyncIterator[str]:
    """Let the worker have a key or secret of another installation until the block ends."""
    name = rng.choice(AT_WORKER)
    file, other = fleet.environment.home / name, fleet.others / name
    right = file.read_text()
    async with fleet.environment.without_worker():
        file.write_text(other.read_text())
    try:
        yield f"another {name}"
    finally:
        async with fleet.environment.without_worker():
            file.write_text(right)
