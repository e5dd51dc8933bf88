"""Lost connections to a real host, and its reboots and power cuts, before and during a swap."""

import asyncio
from datetime import timedelta

import pytest

from relight.domain.fault.fault import FaultClass
from relight.hosts import connections
from relight.hosts.errors import RemoteError
from starter.local.children import wait_until
from tests.support.contract_hosts import lab_hosts
from tests.support.faulty_host import (
    GATED,
    NEW,
    OLD,
    FaultyHost,
)

pytestmark = pytest.mark.lab


@pytest.fixture
def host(host: FaultyHost, monkeypatch: pytest.MonkeyPatch) -> FaultyHost:
    """A host of this test's own, whose lost connections are noticed within two seconds."""
    host.subject.hosts = lab_hosts(connect_timeout=timedelta(seconds=2))
    monkeypatch.setattr(connections, "KEEPALIVE", timedelta(milliseconds=300))
    return host


async def until_reachable(host: FaultyHost) -> None:
    """Wait until the host accepts a login."""

    async def accepts_login() -> bool:
        try:
            async with host.subject.hosts.connect(host.subject.machine):
                return True
        except RemoteError as error:
            if not error.retryable:
                raise
            return False

    await wait_until(accepts_login, timedelta(seconds=30))


async def until_rebooted(host: FaultyHost, leader: int) -> None:
    """Wait until the host has another init than `leader` and accepts a login."""
    await asyncio.to_thread(host.lab.until_rebooted, host.id, leader)
    await until_reachable(host)


def with_upgrade(log: list[str], version: str) -> list[str]:
    """Return dpkg's log with one more upgrade of the package."""
    return [*log, f"upgrade {OLD} {version}"]


# ---------------------------------------------------------------- no login


async def test_a_host_without_sshd_is_unreachable(host: FaultyHost) -> None:
    log = host.dpkg_log()
    with host.changed("systemctl stop ssh.socket ssh 2>/dev/null || true", "systemctl start ssh"):
        fault = await host.fault(host.subject.swap(NEW))
        assert (fault.kind, fault.fault_class) == ("host-unreachable", FaultClass.HOST)
        assert "connection refused" in fault.summary
        assert fault.attempted == "connect"
        assert host.dpkg_log() == log
    await until_reachable(host)
    await host.swap()


async def test_a_host_whose_packets_are_dropped_is_unreachable(host: FaultyHost) -> None:
    log = host.dpkg_log()
    with host.lab.black_hole(host.id):
        fault = await host.fault(host.subject.swap(NEW))
        assert fault.kind == "host-unreachable"
        assert "no SSH login after 2 s" in fault.summary
        assert host.dpkg_log() == log
    await host.swap()


async def test_a_hanging_host_is_unreachable(host: FaultyHost) -> None:
    log = host.dpkg_log()
    with host.lab.frozen(host.id):
        fault = await host.fault(host.subject.swap(NEW))
        assert fault.kind == "host-unreachable"
    assert host.dpkg_log() == log
    await host.swap()


async def test_a_host_that_is_shutting_down_counts_as_booting(host: FaultyHost) -> None:
    message = "echo 'System is going down. Unprivileged users are not permitted to log in.'"
    with host.changed(f"{message} >/run/nologin", "rm /run/nologin"):
        fault = await host.fault(host.subject.swap(NEW))
        assert (fault.kind, fault.fault_class) == ("host-booting", FaultClass.HOST)
        assert "System is going down" in fault.summary
    await host.swap()


# ---------------------------------------------------------------- during an install


async def test_an_install_continues_without_its_connection_and_the_next_attempt_attaches_to_it(
    host: FaultyHost,
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.close_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    with host.lab.black_hole(host.id):
        fault = await swap
        assert fault.kind == "connection-lost"
        assert fault.argv
        unit = host.transaction()
        host.open_gate()
        host.until_sh(f"systemctl show --property=SubState {unit} | grep -q exited")
        assert host.package() == f"ii {GATED}"
    swapped = await host.subject.swap(GATED, run=run)
    assert swapped.attached
    assert swapped.unit == unit
    assert host.dpkg_log() == with_upgrade(log, GATED)
    assert host.transaction() == ""


async def test_an_install_continues_without_sshd_and_the_next_attempt_attaches_to_it(
    host: FaultyHost,
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.close_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    host.sh("systemctl stop ssh; pkill -KILL -x sshd || true")
    assert (await swap).kind == "connection-lost"
    host.open_gate()
    host.sh("systemctl start ssh")
    await until_reachable(host)
    assert (await host.subject.swap(GATED, run=run)).attached
    assert host.dpkg_log() == with_upgrade(log, GATED)
    assert host.transaction() == ""


async def test_a_host_that_hangs_during_an_install_continues_it_afterwards(
    host: FaultyHost,
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.close_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    with host.lab.frozen(host.id):
        assert (await swap).kind == "connection-lost"
    host.open_gate()
    assert (await host.subject.swap(GATED, run=run)).attached
    assert host.dpkg_log() == with_upgrade(log, GATED)
    assert host.transaction() == ""


@pytest.mark.parametrize("how", ["systemctl reboot", "reboot -ff"])
async def test_the_next_attempt_repairs_a_host_that_rebooted_during_an_install(
    host: FaultyHost, how: str
) -> None:
    """Once with an orderly shutdown, and once without, as after a power failure."""
    run, leader = host.subject.new_run(), host.lab.leader(host.id)
    host.close_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    assert host.package() == f"iF {GATED}"
    host.lab.run(host.id, "sh", "-c", how, check=False)
    fault = await swap
    assert fault.kind in {
        *("connection-lost", "transaction-lost", "dpkg-interrupted", "host-booting"),
    }

    await until_rebooted(host, leader)
    assert host.package() == f"iF {GATED}"
    unproven = await host.fault(host.subject.prove(GATED))
    assert unproven.kind == "package-not-installed"
    assert not (await host.subject.swap(GATED, run=run)).attached
    assert host.package() == f"ii {GATED}"


async def test_a_host_that_reboots_during_its_proof_is_not_proven(host: FaultyHost) -> None:
    leader = host.lab.leader(host.id)
    proving = asyncio.create_task(host.fault(host.with_long_stability_window().prove(OLD)))
    await asyncio.to_thread(host.until_sh, "pgrep -u relight sshd >/dev/null")
    host.lab.run(host.id, "reboot", "-ff", check=False)
    fault = await proving
    assert fault.kind in {"connection-lost", "host-rebooted", "host-unreachable"}
    await until_rebooted(host, leader)
    await host.swap()


async def test_the_next_attempt_repairs_a_host_that_lost_its_power_during_an_install(
    host: FaultyHost,
) -> None:
    run = host.subject.new_run()
    host.close_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    await asyncio.to_thread(host.lab.cut_power, host.id)
    assert (await swap).kind == "connection-lost"
    for call in (host.subject.swap(GATED, run=run), host.subject.prove(OLD)):
        fault = await host.fault(call)
        assert (fault.kind, fault.fault_class) == ("host-unreachable", FaultClass.HOST)

    await asyncio.to_thread(host.lab.start, host.id)
    await until_reachable(host)
    assert host.package() == f"iF {GATED}"
    unproven = await host.fault(host.subject.prove(GATED))
    assert unproven.kind == "package-not-installed"
    assert not (await host.subject.swap(GATED, run=run)).attached
    assert host.package() == f"ii {GATED}"
    assert host.sh("dpkg --audit") == ""
    assert host.transaction() == ""
