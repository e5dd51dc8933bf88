"""A change on a host that outlives the link to it."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.fault import FaultClass
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
from relight.hosts.proof import Expected
from relight.hosts.systemd import parse_shown
from relight.hosts.transaction import (
    PATIENCE,
    Phase,
    TransactionEnded,
    TransactionState,
    run_to_end,
    transaction_state,
    unit_name,
)
from tests.support.memory_shell import (
    MemoryHost,
    Unit,
    failed,
    running,
    succeeded,
)

UNIT = "relight-install.service"
CHANGE = Change("0.0.74")
EXPECTED = Expected("lantern-box", "0.0.74", "lantern-box.service", "/usr/bin/lantern-box")
SWAP, SEE = f"relight-host swap {UNIT} 5 0.0.74 upgrade", f"relight-host see {UNIT} 5"
SAID, FORGET = f"relight-host said {UNIT}", f"relight-host forget {UNIT}"
BEGIN = tuple(host_program.swap(UNIT, PATIENCE, CHANGE))
CASES = Path(__file__).parent / "cases" / "apt"


async def run(host: MemoryHost, looks: list[TransactionState] | None = None) -> TransactionEnded:
    seen = looks if looks is not None else []
    return await run_to_end(host, UNIT, CHANGE, EXPECTED, seen.append)


async def failure(host: MemoryHost) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await run(host)
    return caught.value


def start(then: Unit) -> MemoryHost:
    """A host on which the transaction begins, runs for two looks, and ends like this."""
    return MemoryHost(coming=[running(), running(), then])


async def test_a_transaction_is_begun_and_looked_at_until_its_end_and_its_outcome_is_kept() -> None:
    host, looks = start(succeeded()), list[TransactionState]()
    ended = await run(host, looks)
    assert (ended.attached, ended.took) == (False, timedelta(seconds=3.5))
    assert (ended.look.package.version, ended.look.is_installed_file) == ("0.0.74", True)
    assert [look.phase for look in looks] == [Phase.RUNNING, Phase.RUNNING]
    assert host.ran == [SWAP, SEE, SEE]
    assert host.change == succeeded()
    await transaction.forget(host, UNIT)
    assert host.change == Unit()


async def test_one_that_ends_soon_is_one_call() -> None:
    host, looks = MemoryHost(coming=[succeeded()]), list[TransactionState]()
    assert not (await run(host, looks)).attached
    assert host.ran == [SWAP]
    assert looks == []


async def test_all_of_it_runs_as_root() -> None:
    host = start(failed())
    await failure(host)
    assert host.as_root == set(host.ran)


@pytest.mark.parametrize("there", [running(), succeeded()])
async def test_a_transaction_that_is_there_already_is_attached_to(there: Unit) -> None:
    host = MemoryHost(change=there, coming=[there, succeeded()])
    assert (await run(host)).attached


@pytest.mark.parametrize("said", ["was already loaded or has a fragment file", "already exists"])
async def test_one_that_another_attempt_began_is_waited_for(said: str) -> None:
    host = start(succeeded())
    host.refuses_to_begin = f"Unit {UNIT} {said}."
    assert (await run(host)).attached


async def test_one_that_cannot_be_begun_says_why() -> None:
    error = await failure(MemoryHost(refuses_to_begin="Access denied"))
    assert isinstance(error, CommandFailedError)
    assert str(error).endswith(
        ": begin a change: Failed to start transient service unit: Access denied"
    )
    assert (error.argv, error.exit_code) == (BEGIN, 1)


async def test_a_systemd_that_does_not_answer_is_a_host_that_goes_down() -> None:
    said = "Failed to connect to bus: No such file or directory\n"
    error = await failure(MemoryHost(answers={"relight-host swap": (75, "", said)}))
    assert isinstance(error, HostNotReadyError)
    assert error.retryable
    assert "systemd does not answer" in error.text
    assert (error.argv, error.stderr) == (BEGIN, said)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("sudo: a password is required", SudoRefusedError),
        ("sudo: /usr/local/sbin/relight-host: command not found", HostProgramMissingError),
    ],
)
async def test_a_host_that_does_not_run_the_program_for_us_says_so(
    line: str, kind: type[RemoteError]
) -> None:
    error = await failure(MemoryHost(answers={"relight-host": (1, "", f"{line}\n")}))
    assert type(error) is kind
    assert (error.text, error.argv, error.exit_code) == (line, BEGIN, 1)
    assert (error.fault_class, error.retryable) == (FaultClass.HOST, False)


async def test_a_call_that_the_program_refuses_is_an_error_with_its_words() -> None:
    said = "relight-host: not a version: -o\n"
    error = await failure(MemoryHost(answers={"relight-host swap": (64, "", said)}))
    assert isinstance(error, CommandFailedError)
    assert error.text == "exit code 64: relight-host: not a version: -o"


@pytest.mark.parametrize("case", ["postinst-failed", "dpkg-lock-held", "version-not-found"])
async def test_one_that_fails_says_what_apt_said(case: str) -> None:
    captured = yaml.safe_load((CASES / f"{case}.yaml").read_text())
    host = start(failed())
    host.said = captured["output"].splitlines()
    error = await failure(host)
    assert isinstance(error, PackageError)
    assert (error.kind, error.exit_code, error.argv) == (captured["kind"], 100, BEGIN)
    assert error.attempted == "change lantern-box to 0.0.74"
    assert error.stderr.splitlines() == host.said
    assert host.change == Unit()  # forgotten, so that the next attempt begins anew


async def test_one_that_failed_under_another_attempt_fails_here_too() -> None:
    host = MemoryHost(change=failed(), said=["E: Held packages were changed and -y was used"])
    error = await failure(host)
    assert (error.kind, error.fault_class) == ("packages-held", FaultClass.HOST)


async def test_one_that_was_killed_had_no_last_words() -> None:
    host = MemoryHost(coming=[failed(9, code=2)], said=["Unpacking"])
    error = await failure(host)
    assert (error.kind, error.exit_code) == ("dpkg-interrupted", -9)
    assert host.count(SAID) == 1


@pytest.mark.parametrize(
    ("unit", "words", "kind", "fault_class"),
    [
        (
            Unit("masked", unit_file="masked"),
            "relight: lantern-box.service is masked: somebody on this host forbade it to run",
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
async def test_one_whose_service_did_not_start_says_how_it_stands_and_what_it_wrote(
    unit: Unit, words: str, kind: str, fault_class: FaultClass
) -> None:
    host = start(failed(90))
    host.unit, host.said = unit, ["Setting up lantern-box", words]
    host.journal = ["cannot bind", "exiting"]
    error = await failure(host)
    assert isinstance(error, ServiceFailedError)
    assert (error.kind, error.fault_class, error.exit_code) == (kind, fault_class, 90)
    assert (error.argv, error.journal) == (BEGIN, ("cannot bind", "exiting"))
    assert error.attempted == "restart lantern-box.service"
    assert host.change == Unit()
    assert host.count(SAID) == 1  # its words are no reason of apt's, and are there all the same


async def test_the_words_of_a_service_that_seems_well_by_now_are_its_reason() -> None:
    host = start(failed(90))
    host.said = ["Job for it failed.", "relight: lantern-box.service did not start"]
    error = await failure(host)
    assert (error.kind, error.text) == ("unit-failed", "lantern-box.service did not start")


async def test_one_that_the_host_forgot_is_lost_and_may_be_begun_again() -> None:
    with pytest.raises(TransactionLostError, match="did it reboot") as caught:
        await run(start(Unit()))
    assert caught.value.retryable


@pytest.mark.parametrize("reply", [SWAP, SEE])
async def test_losing_a_reply_begins_nothing_twice(reply: str) -> None:
    host = start(succeeded())
    host.lose = [reply]
    with pytest.raises(ConnectionLostError):
        await run(host)
    assert (await run(host)).attached


async def test_losing_the_reply_of_what_a_failed_one_said_loses_nothing_of_it() -> None:
    host = start(failed())
    host.said, host.lose = ["E: Held packages were changed and -y was used"], [SAID]
    with pytest.raises(ConnectionLostError):
        await run(host)
    assert (await failure(host)).kind == "packages-held"


async def test_losing_the_reply_to_the_forgetting_leaves_nothing_to_attach_to() -> None:
    """Its outcome is gone, so it runs once more: apt finds the version there already."""
    host = start(failed())
    host.said, host.lose = ["E: Held packages were changed and -y was used"], [FORGET]
    assert isinstance(await failure(host), ConnectionLostError)
    host.coming = [succeeded()]
    assert not (await run(host)).attached


async def test_forgetting_what_is_not_there_is_no_error() -> None:
    host = MemoryHost(answers={"relight-host forget": (1, "", "no")})
    await transaction.forget(host, UNIT)


async def test_a_unit_that_was_not_asked_about_is_no_transaction() -> None:
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
def test_a_units_state_is_a_transactions(unit: Unit, phase: Phase, exit_code: int | None) -> None:
    state = transaction_state(parse_shown(unit.shown())[0])
    assert (state.phase, state.exit_code) == (phase, exit_code)
    assert (state.took is None) == (exit_code is None)


@given(st.text(max_size=300))
def test_any_operation_has_a_name_that_systemd_takes(operation: str) -> None:
    name = unit_name(operation)
    assert len(name) < 256
    assert name.startswith("relight-")
    assert name.endswith(".service")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert unit_name(operation) == name


@given(st.sets(st.text(max_size=100), min_size=2, max_size=10))
def test_each_operation_has_a_name_of_its_own(operations: set[str]) -> None:
    assert len({unit_name(operation) for operation in operations}) == len(operations)


async def test_last_words_that_journald_is_late_with_are_waited_for() -> None:
    host = MemoryHost(change=failed(), said=["Reading package lists..."])

    def arrive(host: MemoryHost) -> None:
        if host.count(SAID) == 2:
            host.said.append("E: Held packages were changed and -y was used")

    host.deeds[SAID] = arrive
    with pytest.raises(PackageError) as caught:
        await run(host)
    assert caught.value.kind == "packages-held"
