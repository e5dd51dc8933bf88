"""Machines whose root is hostile: their own programs lie, flood and never end."""

import resource
import shlex
import time
from datetime import timedelta

import pytest

from relight.domain.fault.fault import FaultClass
from relight.hosts import host_program, observation
from tests.support.faulty_host import NEW, OLD, FaultyHost

pytestmark = [pytest.mark.lab, pytest.mark.attack("a host that floods, trickles or hangs")]

SUDO = "/usr/bin/sudo"

FLOOD = "yes 'a line of a host that is not ours any more' | head -c 3000000000"
ONE_LINE = "head -c 100000000 /dev/zero | tr '\\0' x; exit 1"
ERRORS = "yes | head -c 5000000 >&2; exit 1"
ESCAPES = r"printf '\033]52;c;cHduZWQ=\007\2332J \342\200\256evil \377' >&2; exit 1"
FORGED = r"printf 'units 0\n package 0\nunits 0\n'"
MAX_GROWTH_MIB = 64


def replace(host: FaultyHost, program: str, script: str) -> None:
    """Let a program of the host do something else."""
    host.sh(f"mv {program} {program}.real; cat >{program} <<'END'\n#!/bin/sh\n{script}\nEND")
    host.sh(f"chmod 755 {program}")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("program", [str(host_program.PROGRAM), SUDO])
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (FLOOD, "host-misbehaves"),
        (ONE_LINE, "host-misbehaves"),
        (ERRORS, "host-misbehaves"),
        (ESCAPES, "command-failed"),
        (FORGED, "unreadable-answer"),
    ],
)
async def test_a_swap_on_a_hostile_host_ends_soon_in_a_small_fault_of_that_host(
    host: FaultyHost, program: str, script: str, kind: str
) -> None:
    replace(host, program, script)
    memory, began = peak_mib(), time.monotonic()
    fault = await host.fault(host.subject.swap(NEW))
    assert time.monotonic() - began < 15
    assert peak_mib() - memory < MAX_GROWTH_MIB
    assert (fault.kind, fault.fault_class) == (kind, FaultClass.HOST)
    text = fault.model_dump_json()
    assert len(text) < 32 * 1024
    assert text.isprintable()
    if script == ESCAPES:
        assert fault.stderr_tail.splitlines()[-1] == r"\x1b]52;c;cHduZWQ=\x07\x9b2J \u202eevil \xff"


async def test_a_host_that_answers_nothing_is_given_up_and_named(
    host: FaultyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation, "COMMAND_TIMEOUT", timedelta(seconds=2))
    replace(host, str(host_program.PROGRAM), "while :; do printf .; sleep 0.1; done")
    fault = await host.fault(host.subject.prove(OLD))
    assert fault.kind == "command-timeout"


async def test_of_a_log_of_any_length_the_end_is_read(host: FaultyHost) -> None:
    """The host is honest: only a script of its package prints without end."""
    unit = "relight-x.service"
    script = "head -c 12000000 /dev/zero | tr '\\0' x; echo; echo the end"
    host.sh(f"systemd-run -q -u {unit} -p RemainAfterExit=yes sh -c {shlex.quote(script)}")
    host.until_sh(f"systemctl show -p SubState {unit} | grep -q exited")
    record = "/var/lib/relight/first-boot/install.log"
    host.sh(f"head -c 50000000 /dev/zero | tr '\\0' y >>{record}; echo 'the end' >>{record}")
    async with host.subject.hosts.connect(host.subject.machine) as shell:
        for call in (host_program.log(unit), host_program.step("install")):
            read = await shell.run(call, timeout=timedelta(seconds=20), sudo=True)
            assert len(read.stdout) == 256 * 1024
            assert read.stdout.endswith("the end\n")
