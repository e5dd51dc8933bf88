"""Whatever a host prints, parsing it ends soon, in a result or in a fault of the host."""

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relight.domain.fault.fault import FaultClass
from relight.domain.service import Service
from relight.domain.text import visible
from relight.hosts import first_boot, shell, transaction
from relight.hosts.apt import diagnose
from relight.hosts.errors import HostMisbehavesError, RemoteError, UnreadableAnswerError
from relight.hosts.host_program import Change
from relight.hosts.observation import MAX_PATH_BYTES, parse
from relight.hosts.proof import verdict
from relight.hosts.questions import Section, parse_sections
from relight.hosts.transaction import run_transaction, transaction_state
from tests.support.memory_shell import MemoryHost, running

pytestmark = pytest.mark.attack("a host with forged answers")

SERVICE = Service("lantern-box", "lantern-box.service", "/usr/bin/lantern-box", timedelta())
SHOWN = "\n".join(f" {line}" for line in running().shown().splitlines())
ANSWER = f"""\
{SHOWN}
units 0
 ii \t0.0.74\tamd64
package 0
 /usr/bin/lantern-box
file 0
 lantern-box.service has process 7, which runs the old /usr/bin/lantern-box (deleted)
stale 0
 6c7b5e3a-0000-4000-8000-000000000000
boot 0
 ??5??????   /usr/bin/lantern-box
verify 1
"""


@st.composite
def changed_answers(draw: st.DrawFn) -> str:
    """A good answer with some of its pieces replaced, repeated, or gone."""
    pieces = re.split(r"(\n|=| |\t)", ANSWER)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(pieces) - 1))
        pieces[at] = draw(
            st.sampled_from(
                ["", "9" * 30, "-1", "\u0663", "x" * 9000, pieces[at] * 3, "units 0", "\x1b[2J"]
            )
            | st.text(max_size=20)
        )
    return visible("".join(pieces))


Read = TypeVar("Read")


def read(call: Callable[[], Read]) -> Read | None:
    """Return what is read, or None if it ends in a short error of the right kind."""
    try:
        return call()
    except UnreadableAnswerError as caught:
        error = caught
    assert error.fault_class is FaultClass.HOST
    assert len(str(error)) <= 4096
    return None


@settings(max_examples=1000, deadline=None)
@given(changed_answers() | st.text())
@example(ANSWER)
@example(ANSWER.replace("MainPID=7", f"MainPID={'9' * 5000}"))
@example(ANSWER.replace("ExecMainExitTimestampMonotonic=0", f"ExecMain={'9' * 19}"))
@example(ANSWER.replace("verify 1", f"verify {'1' * 5000}"))
def test_any_observation_is_read_or_a_fault_of_the_host(text: str) -> None:
    observation = read(lambda: parse(text))
    if observation is None:
        return
    for unit in filter(None, (*observation.units, observation.transaction)):
        assert len(repr(unit)) < 3000
        transaction_state(unit)
    assert len(observation.running_file) <= MAX_PATH_BYTES
    assert len(observation.boot_id) <= 64
    fault = verdict(observation, None, SERVICE, "0.0.74")
    assert fault is None or len(str(fault)) <= 4096


def test_the_answer_of_these_tests_is_a_good_one() -> None:
    assert parse(ANSWER).package.version == "0.0.74"


def test_a_section_that_is_there_twice_is_no_answer() -> None:
    forged = "units 0\n" + ANSWER
    with pytest.raises(UnreadableAnswerError, match="two answers to units"):
        parse(forged)
    with pytest.raises(UnreadableAnswerError, match="no answer to package"):
        parse_sections(" package 0\nunits 0\n", ["units", "package"])


@given(st.text(), st.text())
@example('{"v1": {"errors": [[[[', "install 0")
@example("[" * 200_000, "install 0")
@example(json.dumps({"v1": {"errors": ["\x1b[2J" + "x" * 500_000] * 2}}), "install 0")
@example(json.dumps({"v1": {"errors": ["x"] * 100_000}}), "install 0\nservice 90")
@example(json.dumps({"v1": {"errors": []}}), "x" * 100_000 + " 0")
@example(json.dumps({"v1": {"errors": []}}), "".join(f"step{n} 0\n" for n in range(9999)))
@example(json.dumps({"v1": {"errors": []}}), "--flag 1")
def test_any_result_of_a_first_boot_is_read_or_a_fault_of_the_host(result: str, steps: str) -> None:
    answers = {
        "boot_id": Section("6c7b5e3a", 0),
        "result": Section(result, 0),
        "steps": Section(steps, 0),
    }
    boot = read(lambda: first_boot.parse(answers))
    if boot is None:
        return
    assert set(boot.steps) <= {"install", "service"}
    assert sum(map(len, boot.errors)) <= 10_000
    assert all(visible(error) == error for error in boot.errors)


MIB = shell.MAX_OUTPUT_BYTES


@pytest.mark.parametrize(
    "output",
    [
        "dpkg: error processing package " + "x" * MIB,
        "dpkg: error processing package x\n" + " \n" * (MIB // 2),
        "E: Version '" + "' for '" * (MIB // 7),
        "E: Unable to acquire the dpkg frontend lock\n" + "It is held by process 1 (" * (MIB // 25),
        "E: The repository '" + "' does not" * (MIB // 10),
        "x : Depends" * (MIB // 11),
        "curl: (22) " + " 404x" * (MIB // 5),
        "\n" * MIB,
        ("E: " + "Failed to fetch " * 60 + "\n") * (MIB // 1000),
    ],
)
def test_a_reason_is_found_in_any_megabyte_soon(output: str) -> None:
    began = time.process_time()
    assert len(diagnose(output, "lantern-box").text) < 4096
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "stderr",
    [
        "x" * MIB,
        "sh: sudo:" * (MIB // 9),
        "sudo: " * (MIB // 6),
        "a " * (MIB // 2),
    ],
)
def test_a_refusal_of_sudo_is_looked_for_in_any_megabyte_soon(stderr: str) -> None:
    began = time.process_time()
    shell.sudo_refusal(stderr)
    shell.missing_command(stderr)
    assert time.process_time() - began < 2


async def test_a_transaction_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host answers at once, and always that the change is running."""
    monkeypatch.setattr(transaction, "OVERTIME", timedelta(milliseconds=500))
    host = MemoryHost(coming=[running()] * 1000)
    service = Service(
        "lantern-box",
        "lantern-box.service",
        "/usr/bin/lantern-box",
        timedelta(),
        change_deadline=timedelta(),
    )
    with pytest.raises(HostMisbehavesError, match="still running") as caught:
        await run_transaction(host, "relight-x.service", Change("0.0.74"), service, lambda _: None)
    assert not caught.value.retryable
    assert len(host.ran) <= 12  # one in 50 ms
    assert isinstance(caught.value, RemoteError)
    assert caught.value.destination == host.destination
