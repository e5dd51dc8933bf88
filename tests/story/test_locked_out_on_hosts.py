"""Real hosts that lock the control plane out, all at once: nothing is destroyed, one run heals all.

Six routes and two pool machines. In each cell the control plane's own key, secret or rule is wrong
for a while. All delays are as short as the settings allow.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.names import LabNames
from relight.domain.pool.pool import PoolStatus, pool_workflow_id
from relight.store.events import Operation
from starter.local.children import wait_until
from starter.local.home import prepare_home
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.support.lab_fleet import FIRST
from tests.support.remediation_fleet import (
    REMEDIATED_WITHIN,
    RemediationFleet,
    remediation_fleet,
)
from tests.workflows.harness import ORIGIN

pytestmark = [
    pytest.mark.lab,
    pytest.mark.attack("a wrong client key, secret or sudo rule of our own"),
]

REGION = "lab-east"
KEYS, RULES = "/home/relight/.ssh/authorized_keys", "/etc/sudoers.d/90-cloud-init-users"

ON_HOSTS = {
    "a revoked client key": (f"mv {KEYS} {KEYS}.away", f"mv {KEYS}.away {KEYS}", "login-refused"),
    "an expired client key": (
        f"""cp -p {KEYS} {KEYS}.away && sed -i 's/^/expiry-time="20200101" /' {KEYS}""",
        f"mv {KEYS}.away {KEYS}",
        "login-refused",
    ),
    "an account that has expired": (
        "chage --expiredate 2020-01-01 relight",
        "chage --expiredate -1 relight",
        "login-refused",
    ),
    "a password that has expired": (
        "chage --lastday 0 relight",
        "chage --lastday -1 relight",
        "login-refused",
    ),
    "a changed sudo rule": (f"mv {RULES} /root/away", f"mv /root/away {RULES}", "sudo-refused"),
}
"""What is done on each host, how it is undone, and the fault that is found."""

AT_WORKER = {
    "another client key": ("ssh_client_key", "login-refused"),
    "another host-key secret": ("host_key_secret", "host-key-mismatch"),
}
"""The file of the worker that is another one, and the fault that is found."""


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RemediationFleet]:
    async with remediation_fleet(tmp_path_factory.mktemp("locked-out")) as fleet:
        store = fleet.fleet.environment.store
        store.pool_sizes.set("lab", REGION, 2, Operation(origin=ORIGIN))

        async def filled() -> bool:
            await fleet.reconcile()
            await pool_is_kept(fleet)
            return [each.status for each in store.pool.list()] == [PoolStatus.READY] * 2

        await wait_until(filled, REMEDIATED_WITHIN)
        yield fleet
    assert traces(LabNames(lab_name(fleet.fleet.environment.home)).tag) == []


async def pool_is_kept(fleet: RemediationFleet) -> None:
    """Wait until the upkeep of the pool that ran last has ended."""
    await fleet.client.get_workflow_handle(pool_workflow_id("lab", REGION)).result()


async def on_all_hosts(fleet: RemediationFleet, script: str) -> None:
    ids = await fleet.machines()
    printed = await asyncio.gather(
        *(fleet.fleet.environment.on_host(each, script) for each in ids.values())
    )
    assert set(printed) == {""}


@asynccontextmanager
async def wrong(fleet: RemediationFleet, what: str, elsewhere: Path) -> AsyncIterator[str]:
    """Make a key, secret or rule wrong until the block ends. Yields the fault that is found."""
    environment = fleet.fleet.environment
    if what in ON_HOSTS:
        break_it, undo, kind = ON_HOSTS[what]
        await on_all_hosts(fleet, break_it)
        try:
            yield kind
        finally:
            await on_all_hosts(fleet, undo)
        return
    name, kind = AT_WORKER[what]
    file = environment.home / name
    right, other = file.read_text(), (elsewhere / name).read_text()
    file.write_text(other)
    await environment.kill_worker()
    try:
        yield kind
    finally:
        file.write_text(right)
        await environment.kill_worker()


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys and secrets of another installation."""
    home = tmp_path_factory.mktemp("other")
    prepare_home(home)
    return home


@pytest.mark.parametrize("what", [*ON_HOSTS, *AT_WORKER])
async def test_what_is_wrong_everywhere_is_our_incident_and_heals_in_one_run(
    fleet: RemediationFleet, other_keys: Path, what: str
) -> None:
    store, before = fleet.fleet.environment.store, await fleet.machines()
    mark = fleet.fleet.last_event()
    pool = sorted(each.key for each in store.pool.list())
    with sqlite3.connect(fleet.fleet.environment.home / "fleet.db") as database:
        database.execute("UPDATE pool_machines SET proven_at = '2026-01-01 00:00:00.000000'")
    async with wrong(fleet, what, other_keys) as kind:
        for _ in range(4):  # One more than it takes to give a single machine up.
            done = await fleet.reconcile()
            assert done["started"].keys() <= {"verify", "pool"}
            await pool_is_kept(fleet)
        incident = (await fleet.fleet.ask("breaker", "status"))["breaker"]["incident"]
        assert (
            f"fleet: 8 of 8 machines answer, but lock the control plane out ({kind})"
            in (incident["summary"])
        )
        assert "relight reconcile" in incident["to_do"]
        assert [each.status for each in store.pool.list()] == [PoolStatus.FAULTED] * 2
        assert await fleet.machines() == before
    await fleet.reconcile()
    await pool_is_kept(fleet)
    assert fleet.serves(FIRST)
    assert [each.status for each in store.pool.list()] == [PoolStatus.READY] * 2
    assert sorted(each.key for each in store.pool.list()) == pool
    assert await fleet.machines() == before
    kinds = [each.kind for each in store.events.list() if each.event_id > mark]
    assert kinds.count("breaker-opened") == 1
    assert "machine-destroyed" not in kinds
    await fleet.fleet.assert_serves(FIRST)

    async def closed() -> bool:
        done = await fleet.reconcile()
        return done["observed"]["breaker"]["incident"] is None

    await wait_until(closed, REMEDIATED_WITHIN)
