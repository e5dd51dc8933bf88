"""Processes on a real host that hang or are killed during a swap, with a working connection."""

import asyncio
import dataclasses
import shlex
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from relight.domain.fault.fault import FaultClass
from relight.hosts import host_program, observation, transaction
from relight.hosts.shell import SUDO
from starter.local.children import wait_until
from tests.support.faulty_host import (
    GATE,
    GATED,
    OLD,
    FaultyHost,
)

pytestmark = pytest.mark.lab

UNLISTED = "0.9.9"
"""A version that no repository has."""

HOOK = "/etc/apt/apt.conf.d/99test"

CALL = f"^/bin/sh {host_program.PROGRAM} (swap|observe) "
"""The pattern with which `pgrep -f` finds the call that waits for a change."""


async def assert_installed_once(host: FaultyHost, log: list[str]) -> None:
    """Check that the change was made once and that no call waits for it."""
    assert host.package() == f"ii {GATED}"
    assert host.dpkg_log() == [*log, f"upgrade {OLD} {GATED}"]
    assert host.transaction() == ""
    await asyncio.to_thread(host.until_sh, f"! pgrep -f '{CALL}'")


@pytest.mark.parametrize("stopped", ["dpkg", "the whole change"])
async def test_a_hanging_change_is_waited_for_with_heartbeats(
    host: FaultyHost, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    monkeypatch.setattr(transaction, "LONG_POLL", timedelta(seconds=1))
    log, beats, environment = host.dpkg_log(), list[object](), ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.extend(details)
    host.close_gate()
    swap = asyncio.create_task(host.subject.swap(GATED, environment=environment))
    await host.until_at_gate()
    stop, resume = "pkill -STOP -x dpkg", "pkill -CONT -x dpkg"
    if stopped == "the whole change":
        kill = f"systemctl kill {host.transaction()} --signal="
        stop, resume = f"{kill}STOP", f"{kill}CONT"
    with host.changed(stop, resume):
        # A process stops when it is scheduled next.
        await asyncio.to_thread(host.until_sh, "ps -o stat= -C dpkg | grep '^T'")
        # The gate opens as soon as the stopped process continues.
        host.sh(f"(echo go >{GATE}; rm -f {GATE}) >/dev/null 2>&1 &")
        before = len(beats)

        async def beats_continue() -> bool:
            return len(beats) >= before + 3

        await wait_until(beats_continue, timedelta(seconds=30))
        assert {str(beat).partition(": ")[0] for beat in beats} == {"running"}
        assert any("dpkg" in str(beat) for beat in beats)  # itself, or a script in its folder
        assert not swap.done()
        assert host.package() == f"iF {GATED}"
    assert not (await swap).attached
    await assert_installed_once(host, log)


async def test_a_hanging_call_times_out_and_the_next_attempt_attaches_to_its_change(
    host: FaultyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.close_gate()
    with monkeypatch.context() as short_timeouts:
        short_timeouts.setattr(transaction, "LONG_POLL", timedelta(seconds=2))
        short_timeouts.setattr(observation, "COMMAND_TIMEOUT", timedelta(seconds=1))
        swap = asyncio.create_task(host.fault(host.subject.swap(GATED, run=run)))
        await host.until_at_gate()
        unit = host.transaction()
        stopped = host.until_sh(f"pgrep -f '{CALL}' && pkill -STOP -f '{CALL}'")
        fault = await swap
    assert (fault.kind, fault.fault_class) == ("command-timeout", FaultClass.HOST)
    assert "it did not end within 3 s" in fault.summary
    assert fault.argv[: len(SUDO) + 1] == (*SUDO, str(host_program.PROGRAM))
    assert host.package() == f"iF {GATED}"
    host.open_gate()
    swapped = await host.subject.swap(GATED, run=run)
    assert (swapped.attached, swapped.unit) == (True, unit)
    host.sh(f"kill -CONT {stopped}")
    await assert_installed_once(host, log)


async def test_a_change_that_hangs_is_killed_at_its_deadline_and_the_next_swap_repairs_it(
    host: FaultyHost,
) -> None:
    service = dataclasses.replace(host.subject.service, change_deadline=timedelta(seconds=15))
    impatient = dataclasses.replace(host.subject, service=service)
    host.close_gate()
    fault = await host.fault(impatient.swap(GATED))
    assert (fault.kind, fault.fault_class) == ("change-timed-out", FaultClass.RELEASE)
    assert "within 15 s" in fault.summary
    await assert_unfinished(host)


@pytest.mark.parametrize("moment", ["from the start", "in the middle"])
async def test_a_reason_that_journald_reads_after_the_change_has_failed_is_told(
    host: FaultyHost, moment: str
) -> None:
    """journald knows a process that has ended by its unit only, no longer by its start."""
    stop, go_on = (f"systemctl kill --signal={each} systemd-journald" for each in ("STOP", "CONT"))
    hook = f'APT::Update::Pre-Invoke {{ "echo begun; journalctl --sync; {stop}"; }};'
    late = stop if moment == "from the start" else f"echo {shlex.quote(hook)} >{HOOK}"
    with host.changed(late, f"{go_on}; rm -f {HOOK}"):
        swap = asyncio.create_task(host.fault(host.subject.swap(UNLISTED)))
        failed = "systemctl list-units --state=failed --no-legend 'relight-*' | grep relight-"
        await asyncio.to_thread(host.until_sh, failed)
    fault = await swap
    assert fault.kind == "version-not-listed"
    assert f"'{UNLISTED}' for 'lantern-box' was not found" in fault.summary
    assert ("begun" in fault.stderr_tail) == (moment == "in the middle")


async def test_a_stopped_swap_leaves_no_process_and_the_next_swap_repairs_it(
    host: FaultyHost,
) -> None:
    run = host.subject.new_run()
    host.close_gate()
    swap = asyncio.create_task(host.subject.swap(GATED, run=run))
    await host.until_at_gate()
    unit = host.transaction()
    swap.cancel()
    with pytest.raises(asyncio.CancelledError):
        await swap
    assert (await host.subject.stop_swap(GATED, run)).unit == unit
    assert (await host.subject.stop_swap(GATED, run)).unit == unit
    await assert_unfinished(host)


async def assert_unfinished(host: FaultyHost) -> None:
    """Check that a change was stopped in the middle, and that the next swap repairs the host."""
    assert host.transaction() == ""
    assert host.sh("pgrep -x dpkg || true") == ""
    assert host.package() == f"iF {GATED}"
    # The gate is still closed: the script would hang again, and must not stop a rollback.
    await host.swap(OLD)
    host.sh("rm /run/gate*")


@pytest.mark.parametrize(
    "kill",
    [
        "pkill -KILL -x sudo",
        "pkill -TERM -x sudo",
        f"pkill -KILL -f '{CALL}'",
        f"pkill -TERM -f '{CALL}'",
    ],
    ids=["sudo is killed", "sudo is terminated", "call is killed", "call is terminated"],
)
async def test_a_change_survives_the_end_of_its_call_and_a_reexecution_of_systemd(
    host: FaultyHost, kill: str
) -> None:
    log, run = host.dpkg_log(), host.subject.new_run()
    host.close_gate()
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
    await assert_installed_once(host, log)
