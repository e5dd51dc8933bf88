"""What hangs or is killed on a real machine in the middle of a swap, while the link stays whole."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from relight.domain.fault.fault import FaultClass
from relight.hosts import host_program, observation, transaction
from starter.local.children import wait_until
from tests.support.faulty_host import (
    GATE,
    GATED,
    OLD,
    FaultyHost,
    faulty_host,
)
from tests.support.lab import Lab

pytestmark = pytest.mark.lab

CALL = f"^/bin/sh {host_program.PROGRAM} (swap|see) "
"""How `pgrep -f` finds the call that waits for a change."""


@pytest.fixture(scope="module")
async def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultyHost]:
    folder = tmp_path_factory.mktemp("stalls")
    async with faulty_host(lab, f"stalls-{uuid.uuid4().hex[:6]}-g1", folder) as made:
        yield made


@pytest.fixture
async def host(machine: FaultyHost) -> FaultyHost:
    await machine.settle(OLD)
    return machine


async def installed_once(host: FaultyHost, log: list[str]) -> None:
    """The change is made, once, and nobody waits for it any more."""
    assert host.package() == f"ii {GATED}"
    assert host.dpkg_log() == [*log, f"upgrade {OLD} {GATED}"]
    assert host.transaction() == ""
    await asyncio.to_thread(host.until_sh, f"! pgrep -f '{CALL}'")


@pytest.mark.parametrize("who", ["dpkg", "the whole change"])
async def test_a_change_that_hangs_is_waited_for_with_heartbeats_until_it_goes_on(
    host: FaultyHost, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(transaction, "PATIENCE", timedelta(seconds=1))
    log, beats, environment = host.dpkg_log(), list[object](), ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.extend(details)
    host.shut_gate()
    swap = asyncio.create_task(host.subject.swap(GATED, environment=environment))
    await host.until_at_gate()
    stop, go_on = "pkill -STOP -x dpkg", "pkill -CONT -x dpkg"
    if who == "the whole change":
        kill = f"systemctl kill {host.transaction()} --signal="
        stop, go_on = f"{kill}STOP", f"{kill}CONT"
    with host.changed(stop, go_on):
        assert host.sh("ps -o stat= -C dpkg").startswith("T")
        # Whoever is stopped opens no gate: it is opened as soon as he goes on.
        host.sh(f"(echo go >{GATE}; rm -f {GATE}) >/dev/null 2>&1 &")
        so_far = len(beats)

        async def beats_on() -> bool:
            return len(beats) >= so_far + 3

        await wait_until(beats_on, timedelta(seconds=30))
        assert set(beats) == {"running"}
        assert not swap.done()
        assert host.package() == f"iF {GATED}"
    assert not (await swap).attached
    await installed_once(host, log)


async def test_a_call_that_hangs_times_out_and_the_next_one_finds_its_change(
    host: FaultyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.shut_gate()
    with monkeypatch.context() as hasty:
        hasty.setattr(transaction, "PATIENCE", timedelta(seconds=3))
        hasty.setattr(observation, "COMMAND_TIMEOUT", timedelta(seconds=2))
        swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
        await host.until_at_gate()
        unit = host.transaction()
        stopped = host.until_sh(f"pgrep -f '{CALL}' && pkill -STOP -f '{CALL}'")
        fault = await swap
    assert (fault.kind, fault.fault_class) == ("command-timeout", FaultClass.HOST)
    assert "no end after 5 s" in fault.summary
    assert fault.argv[:4] == ("sudo", "-n", "--", str(host_program.PROGRAM))
    assert host.package() == f"iF {GATED}"
    host.open_gate()
    swapped = await host.subject.swap(GATED, run=run)
    assert (swapped.attached, swapped.unit) == (True, unit)
    host.sh(f"kill -CONT {stopped}")
    await installed_once(host, log)


@pytest.mark.parametrize(
    "kill",
    [
        "pkill -KILL -x sudo",
        "pkill -TERM -x sudo",
        f"pkill -KILL -f '{CALL}'",
        f"pkill -TERM -f '{CALL}'",
    ],
    ids=["sudo is killed", "sudo is told to end", "its call is killed", "its call is told to end"],
)
async def test_a_change_outlives_its_callers_and_a_systemd_that_is_executed_anew(
    host: FaultyHost, kill: str
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.shut_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
    await host.until_at_gate()
    unit = host.transaction()
    host.sh("systemctl daemon-reexec")
    host.until_sh(kill)
    fault = await swap
    assert (fault.kind, fault.fault_class) == ("connection-lost", FaultClass.HOST)
    assert "the call was killed by signal" in fault.summary
    assert host.package() == f"iF {GATED}"
    host.open_gate()
    host.sh("systemctl daemon-reexec")
    swapped = await host.subject.swap(GATED, run=run)
    assert (swapped.attached, swapped.unit) == (True, unit)
    await installed_once(host, log)
