"""Transactions: started or attached to, awaited, and their failures."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.fault import FaultClass
from relight.domain.service import Service
from relight.hosts import host_program, transaction
from relight.hosts.errors import (
    CommandFailedError,
    ConnectionLostError,
    HostNotReadyError,
    HostProgramMissingError,
    PackageError,
    RemoteError,
    ServiceFailedError,
    SudoRefusedError,
    TransactionLostError,
)
from relight.hosts.host_program import Change
from relight.hosts.transaction import (
    LONG_POLL,
    Phase,
    TransactionEnded,
    TransactionState,
    run_transaction,
    transaction_state,
    unit_name,
)
from relight.hosts.units import parse_units
from tests.support.memory_shell import (
    MemoryHost,
    Unit,
    failed,
    running,
    succeeded,
)

UNIT = "relight-install.service"
CHANGE = Change("0.0.74")
SERVICE = Service("lantern-box", "lantern-box.service", "/usr/bin/lantern-box", timedelta())
SWAP, OBSERVE = f"relight-host swap {UNIT} 5 600 0.0.74 upgrade", f"relight-host observe {UNIT} 5"
LOG, FORGET = f"relight-host log {UNIT}", f"relight-host forget {UNIT}"
BEGIN = tuple(host_program.swap(UNIT, LONG_POLL, SERVICE.change_deadline, CHANGE))
CASES = Path(__file__).parent / "cases" / "apt"


async def run(host: MemoryHost, states: list[TransactionState] | None = None) -> TransactionEnded:
    seen = states if states is not None else []
    return await run_transaction(host, UNIT, CHANGE, SERVICE, seen.append)


async def failure(host: MemoryHost) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await run(host)
    return caught.value


def start(then: Unit) -> MemoryHost:
    """A host on which the transaction starts, runs for two observations, and ends as `then`."""
    return MemoryHost(coming=[running(), running(), then])


async def test_a_transaction_is_started_and_observed_until_its_end_and_its_result_is_kept() -> None:
    host, states = start(succeeded()), list[TransactionState]()
    ended = await run(host, states)
    assert (ended.attached, ended.took) == (False, timedelta(seconds=3.5))
    assert (ended.observation.package.version, ended.observation.is_installed_file) == (
        "0.0.74",
        True,
    )
    assert [state.phase for state in states] == [Phase.RUNNING, Phase.RUNNING]
    assert host.ran == [SWAP, OBSERVE, OBSERVE]
    assert host.change == dataclasses.replace(succeeded(), name=UNIT)
    await transaction.forget(host, UNIT)
    assert host.change == Unit()


async def test_a_short_transaction_is_one_call() -> None:
    host, states = MemoryHost(coming=[succeeded()]), list[TransactionState]()
    assert not (await run(host, states)).attached
    assert host.ran == [SWAP]
    assert states == []


async def test_every_call_runs_as_root() -> None:
    host = start(failed())
    await failure(host)
    assert host.as_root == set(host.ran)


@pytest.mark.parametrize("existing", [running(), succeeded()])
async def test_an_existing_transaction_is_attached_to(existing: Unit) -> None:
    host = MemoryHost(change=existing, coming=[existing, succeeded()])
    assert (await run(host)).attached


@pytest.mark.parametrize("output", ["was already loaded or has a fragment file", "already exists"])
async def test_a_transaction_of_another_attempt_is_waited_for(output: str) -> None:
    host = start(succeeded())
    host.start_refusal = f"Unit {UNIT} {output}."
    assert (await run(host)).attached


async def test_a_transaction_that_cannot_start_is_an_error_with_the_reason() -> None:
    error = await failure(MemoryHost(start_refusal="Access denied"))
    assert isinstance(error, CommandFailedError)
    assert str(error).endswith(
        ": start a transaction: Failed to start transient service unit: Access denied"
    )
    assert (error.argv, error.exit_code) == (BEGIN, 1)


async def test_a_systemd_that_does_not_answer_is_a_host_that_is_not_ready() -> None:
    output = "Failed to connect to bus: No such file or directory\n"
    error = await failure(MemoryHost(answers={"relight-host swap": (75, "", output)}))
    assert isinstance(error, HostNotReadyError)
    assert error.retryable
    assert "systemd does not answer" in error.text
    assert (error.argv, error.stderr) == (BEGIN, output)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("sudo: a password is required", SudoRefusedError),
        ("sudo: /usr/local/sbin/relight-host: command not found", HostProgramMissingError),
    ],
)
async def test_a_host_that_does_not_run_the_program_is_an_error(
    line: str, kind: type[RemoteError]
) -> None:
    error = await failure(MemoryHost(answers={"relight-host": (1, "", f"{line}\n")}))
    assert type(error) is kind
    assert (error.text, error.argv, error.exit_code) == (line, BEGIN, 1)
    assert (error.fault_class, error.retryable) == (FaultClass.HOST, False)


async def test_a_call_that_the_program_refuses_is_an_error_with_its_message() -> None:
    output = "relight-host: not a version: -o\n"
    error = await failure(MemoryHost(answers={"relight-host swap": (64, "", output)}))
    assert isinstance(error, CommandFailedError)
    assert error.text == "exit code 64: relight-host: not a version: -o"


@pytest.mark.parametrize("case", ["postinst-failed", "dpkg-lock-held", "version-not-found"])
async def test_a_failed_transaction_has_the_reason_from_apt(case: str) -> None:
    captured = yaml.safe_load((CASES / f"{case}.yaml").read_text())
    host = start(failed())
    host.output = captured["output"].splitlines()
    error = await failure(host)
    assert isinstance(error, PackageError)
    assert (error.kind, error.exit_code, error.argv) == (captured["kind"], 100, BEGIN)
    assert error.attempted == "change lantern-box to 0.0.74"
    assert error.stderr.splitlines() == host.output
    assert host.change == Unit()  # forgotten, so that the next attempt starts a new one


async def test_the_failure_of_another_attempt_is_raised() -> None:
    host = MemoryHost(change=failed(), output=["E: Held packages were changed and -y was used"])
    error = await failure(host)
    assert (error.kind, error.fault_class) == ("packages-held", FaultClass.HOST)


async def test_a_killed_transaction_has_no_reason_in_its_log() -> None:
    host = MemoryHost(coming=[failed(9, code=2)], output=["Unpacking"])
    error = await failure(host)
    assert (error.kind, error.exit_code) == ("dpkg-interrupted", -9)
    assert host.count(LOG) == 1


async def test_a_transaction_that_the_host_stopped_at_its_deadline_is_the_releases_fault() -> None:
    stopped = dataclasses.replace(failed(15, code=2), result="timeout")
    host = MemoryHost(coming=[stopped], output=["Setting up lantern-box (0.0.74) ...", "waiting"])
    error = await failure(host)
    assert (error.kind, error.fault_class) == ("change-timed-out", FaultClass.RELEASE)
    assert not error.retryable
    assert "within 10 min, and was stopped: waiting" in str(error)
    assert error.stderr.splitlines() == host.output
    assert (host.count(LOG), host.change) == (1, Unit())


@pytest.mark.parametrize(
    ("unit", "last_line", "kind", "fault_class"),
    [
        (
            Unit("masked", unit_file="masked"),
            "relight: lantern-box.service is masked on this host",
            "unit-masked",
            FaultClass.HOST,
        ),
        (
            Unit("loaded", "active", "running", "masked-runtime"),
            "relight: lantern-box.service is masked",
            "unit-masked",
            FaultClass.HOST,
        ),
        (Unit(), "relight: there is no unit", "unit-not-found", FaultClass.RELEASE),
        (failed(3), "relight: it did not start", "unit-failed", FaultClass.RELEASE),
        (
            Unit("loaded", "activating", "auto-restart", "enabled", result="exit-code"),
            "relight: it did not start",
            "unit-crash-looping",
            FaultClass.RELEASE,
        ),
        (
            Unit("loaded", "activating", "start", "enabled"),
            "relight: it did not start",
            "unit-failed",
            FaultClass.RELEASE,
        ),
    ],
)
async def test_a_service_that_did_not_start_is_reported_with_unit_and_journal(
    unit: Unit, last_line: str, kind: str, fault_class: FaultClass
) -> None:
    host = start(failed(90))
    host.unit, host.output = unit, ["Setting up lantern-box", last_line]
    host.journal = ["cannot bind", "exiting"]
    error = await failure(host)
    assert isinstance(error, ServiceFailedError)
    assert (error.kind, error.fault_class, error.exit_code) == (kind, fault_class, 90)
    assert (error.argv, error.journal) == (BEGIN, ("cannot bind", "exiting"))
    assert error.attempted == "restart lantern-box.service"
    assert host.change == Unit()
    assert host.count(LOG) == 1  # its log has no reason of apt, but is complete


async def test_the_log_is_the_reason_if_the_service_runs_by_now() -> None:
    host = start(failed(90))
    host.output = ["Job for it failed.", "relight: lantern-box.service did not start"]
    error = await failure(host)
    assert (error.kind, error.text) == ("unit-failed", "lantern-box.service did not start")


async def test_a_transaction_that_the_host_forgot_is_lost_and_may_be_retried() -> None:
    with pytest.raises(TransactionLostError, match="did it reboot") as caught:
        await run(start(Unit()))
    assert caught.value.retryable


@pytest.mark.parametrize("reply", [SWAP, OBSERVE])
async def test_a_lost_reply_starts_nothing_twice(reply: str) -> None:
    host = start(succeeded())
    host.lose = [reply]
    with pytest.raises(ConnectionLostError):
        await run(host)
    assert (await run(host)).attached


async def test_a_lost_reply_of_the_log_loses_nothing() -> None:
    host = start(failed())
    host.output, host.lose = ["E: Held packages were changed and -y was used"], [LOG]
    with pytest.raises(ConnectionLostError):
        await run(host)
    assert (await failure(host)).kind == "packages-held"


async def test_after_a_lost_reply_of_forget_a_new_transaction_is_started() -> None:
    """Its result is gone, so it runs again: apt finds the version installed."""
    host = start(failed())
    host.output, host.lose = ["E: Held packages were changed and -y was used"], [FORGET]
    assert isinstance(await failure(host), ConnectionLostError)
    host.coming = [succeeded()]
    assert not (await run(host)).attached


async def test_forgetting_an_absent_transaction_is_no_error() -> None:
    host = MemoryHost(answers={"relight-host forget": (1, "", "no")})
    await transaction.forget(host, UNIT)


async def test_a_missing_unit_is_an_absent_transaction() -> None:
    assert transaction_state(None) == TransactionState(Phase.ABSENT)


@pytest.mark.parametrize(
    ("unit", "phase", "exit_code"),
    [
        (Unit(), Phase.ABSENT, None),
        (Unit("loaded", "inactive", "dead", "transient"), Phase.ABSENT, None),
        (Unit("loaded", "activating", "start", "transient"), Phase.RUNNING, None),
        (Unit("loaded", "deactivating", "stop", "transient"), Phase.RUNNING, None),
        (running(), Phase.RUNNING, None),
        (succeeded(), Phase.SUCCEEDED, 0),
        (failed(100), Phase.FAILED, 100),
        (failed(9, code=2), Phase.FAILED, -9),
        (failed(11, code=3), Phase.FAILED, -11),
    ],
)
def test_the_state_of_a_unit_is_that_of_its_transaction(
    unit: Unit, phase: Phase, exit_code: int | None
) -> None:
    state = transaction_state(parse_units(unit.shown())[0])
    assert (state.phase, state.exit_code) == (phase, exit_code)
    assert (state.took is None) == (exit_code is None)


@given(st.text(max_size=300))
def test_any_operation_has_a_valid_unit_name(operation: str) -> None:
    name = unit_name(operation)
    assert len(name) < 256
    assert name.startswith("relight-")
    assert name.endswith(".service")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert unit_name(operation) == name


@given(st.sets(st.text(max_size=100), min_size=2, max_size=10))
def test_each_operation_has_another_unit_name(operations: set[str]) -> None:
    assert len({unit_name(operation) for operation in operations}) == len(operations)


async def test_the_log_is_read_again_if_journald_is_late() -> None:
    host = MemoryHost(change=failed(), output=["Reading package lists..."])

    def arrive(host: MemoryHost) -> None:
        if host.count(LOG) == 2:
            host.output.append("E: Held packages were changed and -y was used")

    host.effects[LOG] = arrive
    with pytest.raises(PackageError) as caught:
        await run(host)
    assert caught.value.kind == "packages-held"
