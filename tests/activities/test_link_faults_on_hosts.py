"""What befalls the link to a real machine, and the machine as a whole, in the middle of a swap."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from lab.errors import LabError
from relight.domain.fault.fault import FaultClass
from relight.hosts import shell
from relight.hosts.errors import RemoteError
from starter.local.children import wait_until
from tests.support.faulty_host import (
    GATED,
    NEW,
    OLD,
    FaultyHost,
    faulty_host,
)
from tests.support.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
async def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultyHost]:
    folder = tmp_path_factory.mktemp("link")
    async with faulty_host(lab, f"link-{uuid.uuid4().hex[:6]}-g1", folder) as made:
        yield made


@pytest.fixture
async def host(machine: FaultyHost, monkeypatch: pytest.MonkeyPatch) -> FaultyHost:
    await machine.settle(OLD)
    # A silent link is given up within a second.
    monkeypatch.setattr(shell, "KEEPALIVE", timedelta(milliseconds=300))
    return machine


async def comes_back(host: FaultyHost) -> None:
    """Wait until the host lets the control plane in again."""

    async def lets_in() -> bool:
        try:
            async with host.subject.hosts.connect(host.subject.machine):
                return True
        except RemoteError as error:
            if not error.retryable:
                raise
            return False

    await wait_until(lets_in, timedelta(seconds=30))


async def rebooted(host: FaultyHost, leader: int) -> None:
    """Wait until the host has another init than this one, and lets the control plane in."""

    async def another() -> bool:
        try:
            return host.lab.leader(host.id) != leader
        except LabError:  # it is off for a moment
            return False

    await wait_until(another, timedelta(seconds=30))
    await comes_back(host)


def one_more(log: list[str], version: str) -> list[str]:
    return [*log, f"upgrade {OLD} {version}"]


# ---------------------------------------------------------------- no way in


async def test_a_host_without_sshd_is_unreachable_until_it_is_back(host: FaultyHost) -> None:
    log = host.dpkg_log()
    with host.changed("systemctl stop ssh.socket ssh 2>/dev/null || true", "systemctl start ssh"):
        fault = await host.fault(host.subject.swap(NEW))
        assert (fault.kind, fault.fault_class) == ("host-unreachable", FaultClass.HOST)
        assert "[Errno 111]" in fault.summary
        assert fault.attempted == "connect"
        assert host.dpkg_log() == log
    await comes_back(host)
    await host.swap()


async def test_a_host_in_a_black_hole_is_unreachable_until_it_is_back(host: FaultyHost) -> None:
    log = host.dpkg_log()
    with host.lab.black_hole(host.id):
        fault = await host.fault(host.subject.swap(NEW))
        assert fault.kind == "host-unreachable"
        assert "no SSH login after 2 s" in fault.summary
        assert host.dpkg_log() == log
    await host.swap()


async def test_a_host_that_hangs_is_unreachable_until_it_goes_on(host: FaultyHost) -> None:
    log = host.dpkg_log()
    with host.lab.frozen(host.id):
        fault = await host.fault(host.subject.swap(NEW))
        assert fault.kind == "host-unreachable"
    assert host.dpkg_log() == log
    await host.swap()


async def test_a_host_that_shuts_down_lets_nobody_in_yet(host: FaultyHost) -> None:
    bring = "echo 'System is going down. Unprivileged users are not permitted to log in.'"
    with host.changed(f"{bring} >/run/nologin", "rm /run/nologin"):
        fault = await host.fault(host.subject.swap(NEW))
        assert (fault.kind, fault.fault_class) == ("host-booting", FaultClass.HOST)
        assert "System is going down" in fault.summary
    await host.swap()


# ---------------------------------------------------------------- in the middle of an install


async def test_an_install_whose_packets_are_dropped_goes_on_and_is_found_by_the_next_attempt(
    host: FaultyHost,
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.shut_gate()
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
    assert host.dpkg_log() == one_more(log, GATED)
    assert host.transaction() == ""


async def test_an_install_whose_sshd_dies_goes_on_and_is_found_by_the_next_attempt(
    host: FaultyHost,
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.shut_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    host.sh("systemctl stop ssh; pkill -KILL -x sshd || true")
    assert (await swap).kind == "connection-lost"
    host.open_gate()
    host.sh("systemctl start ssh")
    await comes_back(host)
    assert (await host.subject.swap(GATED, run=run)).attached
    assert host.dpkg_log() == one_more(log, GATED)
    assert host.transaction() == ""


async def test_a_host_that_hangs_in_an_install_goes_on_with_it_when_it_wakes(
    host: FaultyHost,
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.shut_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    with host.lab.frozen(host.id):
        assert (await swap).kind == "connection-lost"
    host.open_gate()
    assert (await host.subject.swap(GATED, run=run)).attached
    assert host.dpkg_log() == one_more(log, GATED)
    assert host.transaction() == ""


@pytest.mark.parametrize("how", ["systemctl reboot", "reboot -ff"])
async def test_a_host_that_reboots_in_an_install_is_mended_by_the_next_attempt(
    host: FaultyHost, how: str
) -> None:
    """Once in order, and once as one whose power fails: nothing is told to end."""
    run, leader = host.subject.new_run(), host.lab.leader(host.id)
    host.shut_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    assert host.package() == f"iF {GATED}"
    host.lab.run(host.id, "sh", "-c", how, check=False)
    fault = await swap
    assert fault.kind in {
        *("connection-lost", "transaction-lost", "dpkg-interrupted", "host-booting"),
    }

    await rebooted(host, leader)
    assert host.package() == f"iF {GATED}"
    unproven = await host.fault(host.subject.prove(GATED))
    assert unproven.kind == "package-not-installed"
    assert not (await host.subject.swap(GATED, run=run)).attached
    assert host.package() == f"ii {GATED}"


async def test_a_host_that_reboots_while_it_is_proven_is_not_proven(host: FaultyHost) -> None:
    leader = host.lab.leader(host.id)
    proving = asyncio.create_task(host.fault(host.patient().prove(OLD)))
    await asyncio.to_thread(host.until_sh, "pgrep -u relight sshd >/dev/null")
    host.lab.run(host.id, "reboot", "-ff", check=False)
    fault = await proving
    assert fault.kind in {"connection-lost", "host-rebooted", "host-unreachable"}
    await rebooted(host, leader)
    await host.swap()


async def test_a_host_whose_power_is_cut_in_an_install_is_mended_when_it_has_power_again(
    host: FaultyHost,
) -> None:
    run = host.subject.new_run()
    host.shut_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    await asyncio.to_thread(host.lab.cut_power, host.id)
    assert (await swap).kind == "connection-lost"
    for doing in (host.subject.swap(GATED, run=run), host.subject.prove(OLD)):
        fault = await host.fault(doing)
        assert (fault.kind, fault.fault_class) == ("host-unreachable", FaultClass.HOST)

    await asyncio.to_thread(host.lab.start, host.id)
    await comes_back(host)
    assert host.package() == f"iF {GATED}"
    unproven = await host.fault(host.subject.prove(GATED))
    assert unproven.kind == "package-not-installed"
    assert not (await host.subject.swap(GATED, run=run)).attached
    assert host.package() == f"ii {GATED}"
    assert host.sh("dpkg --audit") == ""
    assert host.transaction() == ""
