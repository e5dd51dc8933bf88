"""Health probes that are programs, with real programs."""

import asyncio
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from relight.hosts.errors import (
    Destination,
    NotListeningError,
    ProbeFailedError,
    ProbeNotRunnableError,
    fault_of,
)
from relight.hosts.local_program import OUTPUT_CHARACTERS, RETRY_EXIT_CODE
from relight.hosts.probe import CommandProbe, PatientProbe
from starter.local.children import wait_until
from tests.support.processes import alive

HOST = Destination(address="198.18.0.2", port=22, user="relight", machine_key="de-1-g1")


async def run(script: str, *arguments: str, seconds: float = 10) -> str:
    argv = ("/bin/sh", "-c", script, "check", *arguments)
    return await CommandProbe(argv, timedelta(seconds=seconds))(HOST)


async def failed(script: str, *arguments: str, seconds: float = 10) -> ProbeFailedError:
    with pytest.raises(ProbeFailedError) as caught:
        await run(script, *arguments, seconds=seconds)
    assert caught.value.destination is HOST
    return caught.value


async def until_gone(*pids: int) -> None:
    async def gone() -> bool:
        return not any(map(alive, pids))

    await wait_until(gone, timedelta(seconds=5))


async def test_exit_code_0_is_healthy() -> None:
    result = await CommandProbe(("true", "a b"), timedelta(seconds=10))(HOST)
    assert result == "true 'a b': exit code 0"


async def test_arguments_are_not_read_by_a_shell(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    await CommandProbe(("true", f"; touch {trap}", f"$(touch {trap})"), timedelta(seconds=10))(HOST)
    assert not trap.exists()


async def test_another_exit_code_is_unhealthy_with_the_end_of_the_output() -> None:
    error = await failed('echo one; echo "two\n three" >&2; exit 3')
    assert error.text == "exit code 3: one two three"
    fault = fault_of(error)
    assert (fault.kind, fault.exit_code, fault.argv[:2]) == ("probe-failed", 3, ("/bin/sh", "-c"))
    assert fault.machine_key == "de-1-g1"


async def test_a_signal_is_named() -> None:
    assert (await failed("kill -SEGV $$")).text == "killed by SIGSEGV"


async def test_long_output_is_cut_to_its_end() -> None:
    error = await failed("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1")
    assert error.text.endswith("x the end")
    assert len(error.text) == len("exit code 1: ") + OUTPUT_CHARACTERS


async def test_the_environment_names_the_host_and_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_STORE_URL", "postgresql://relight:squirrel@db/relight")
    monkeypatch.setenv("TEMPORAL_API_KEY", "squirrel")
    code = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    dump = tmp_path / "environment"
    # Not a shell, which would set further variables.
    argv = (sys.executable, "-c", code, str(dump))
    await CommandProbe(argv, timedelta(seconds=10))(HOST)
    assert "squirrel" not in dump.read_text()
    environment = json.loads(dump.read_text())
    assert environment["RELIGHT_PROBE_ADDRESS"] == "198.18.0.2"
    assert environment["RELIGHT_PROBE_MACHINE"] == "de-1-g1"
    assert environment["PATH"] == os.environ["PATH"]
    # Python sets LC_CTYPE itself if the language is C.
    assert set(environment) - {"LC_CTYPE"} == {
        "PATH",
        "LANG",
        "RELIGHT_PROBE_ADDRESS",
        "RELIGHT_PROBE_MACHINE",
    }


async def test_a_program_that_times_out_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    error = await failed(
        'trap "" TERM; sleep 1000 & echo $$ $! > "$1"; echo waiting; wait', str(pids), seconds=0.5
    )
    assert error.text == "not ended after 0.5 s: waiting"
    parent, child = map(int, pids.read_text().split())
    assert not alive(parent)
    await until_gone(child)


async def test_a_cancelled_program_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    asking = asyncio.create_task(run('sleep 1000 & echo $$ $! > "$1"; wait', str(pids)))

    async def runs() -> bool:
        return pids.exists() and len(pids.read_text().split()) == 2

    await wait_until(runs, timedelta(seconds=5))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until_gone(*map(int, pids.read_text().split()))


async def test_a_background_child_is_killed_without_waiting_for_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    began = time.monotonic()
    await run('sleep 1000 & echo $! > "$1"', str(pid))
    assert time.monotonic() - began < 5
    await until_gone(int(pid.read_text()))


async def test_a_child_in_another_session_with_the_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    began = time.monotonic()
    error = await failed(
        'setsid sh -c \'echo $$ > "$1"; exec sleep 30\' x "$1" & '
        'until [ -s "$1" ]; do sleep 0.01; done; echo no; exit 1',
        str(pid),
    )
    try:
        assert error.text == "exit code 1: no"
        assert time.monotonic() - began < 5
    finally:
        os.kill(int(pid.read_text()), 9)


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProbeNotRunnableError) as caught:
        await CommandProbe(("/no/such/check",), timedelta(seconds=10))(HOST)
    assert caught.value.attempted == "/no/such/check"
    assert caught.value.text == "it cannot be run: no such file or directory"


async def test_a_program_that_is_not_executable_is_named(tmp_path: Path) -> None:
    (tmp_path / "check").write_text("#!/bin/sh\n")
    with pytest.raises(ProbeNotRunnableError, match="it cannot be run: permission denied"):
        await CommandProbe((str(tmp_path / "check"),), timedelta(seconds=10))(HOST)


async def test_exit_code_75_may_be_retried(tmp_path: Path) -> None:
    script = 'echo . >> "$1"; [ $(wc -l < "$1") -ge 3 ] || { echo not yet; exit 75; }'
    argv = ("/bin/sh", "-c", script, "check", str(tmp_path / "times"))
    command = CommandProbe(argv, timedelta(seconds=10))
    assert RETRY_EXIT_CODE == 75
    with pytest.raises(NotListeningError, match="exit code 75: not yet"):
        await command(HOST)
    assert await PatientProbe(command, timedelta(seconds=5))(HOST)
    assert (tmp_path / "times").read_text().count(".") == 3
