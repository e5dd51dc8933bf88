"""A change on a host that outlives the link to it."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from messages.faults import FaultClass
from remote import transaction
from remote.errors import (
    CommandFailedError,
    ConnectionLostError,
    PackageError,
    TransactionLostError,
)
from remote.systemd import parse_show
from remote.transaction import (
    Phase,
    TransactionEnded,
    TransactionState,
    run_to_end,
    transaction_state,
    unit_name,
)
from tests.support.memory_shell import MemoryHost, Unit, failed, running, succeeded

UNIT = "relight-install.service"
ARGV = ["systemd-run", f"--unit={UNIT}", "/bin/sh", "-c", "script"]
PACKAGE = "lantern-box"
CASES = Path(__file__).parent / "cases" / "apt"


@pytest.fixture(autouse=True)
def _no_pause_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "POLL", timedelta())


async def run(host: MemoryHost, looks: list[TransactionState] | None = None) -> TransactionEnded:
    seen = looks if looks is not None else []
    return await run_to_end(host, UNIT, ARGV, PACKAGE, seen.append)


def start(then: Unit) -> MemoryHost:
    """A host on which the transaction starts, runs for two looks, and ends like this."""

    def started(host: MemoryHost) -> None:
        host.looks = [running(), running(), then]

    return MemoryHost(journal=["one", "two"], deeds={"systemd-run": started})


async def test_a_transaction_is_started_looked_at_until_its_end_and_cleared_away() -> None:
    host, looks = start(succeeded()), list[TransactionState]()
    ended = await run(host, looks)
    assert ended == TransactionEnded(
        attached=False, took=timedelta(seconds=3.5), output=("one", "two")
    )
    assert [look.phase for look in looks] == [Phase.RUNNING, Phase.RUNNING, Phase.SUCCEEDED]
    assert host.count("systemd-run") == 1
    assert host.unit == Unit()


async def test_what_changes_the_host_runs_as_root_and_looking_does_not() -> None:
    host = start(succeeded())
    await run(host)
    looks = {command for command in host.ran if command.startswith("systemctl show")}
    assert host.as_root == set(host.ran) - looks


@pytest.mark.parametrize("there", [running(), succeeded()])
async def test_a_transaction_that_is_there_already_is_not_started_again(there: Unit) -> None:
    host = MemoryHost(looks=[there, succeeded()], journal=["one"])
    ended = await run(host)
    assert ended.attached
    assert ended.output == ("one",)
    assert host.count("systemd-run") == 0


@pytest.mark.parametrize("said", ["was already loaded or has a fragment file", "already exists"])
async def test_one_that_another_attempt_started_meanwhile_is_waited_for(said: str) -> None:
    host = start(succeeded())
    text = f"Failed to start transient service unit: Unit {UNIT} {said}.\n"
    host.answers["systemd-run"] = (1, "", text)
    assert (await run(host)).attached


async def test_one_that_cannot_be_started_says_why() -> None:
    host = MemoryHost(answers={"systemd-run": (1, "", "Failed to connect to bus: no\n")})
    with pytest.raises(CommandFailedError, match=f"start {UNIT}: exit code 1: Failed to connect"):
        await run(host)


@pytest.mark.parametrize("case", ["postinst-failed", "dpkg-lock-held", "version-not-found"])
async def test_one_that_fails_says_what_apt_said(case: str) -> None:
    captured = yaml.safe_load((CASES / f"{case}.yaml").read_text())
    host = start(failed())
    host.journal = captured["output"].splitlines()
    with pytest.raises(PackageError) as caught:
        await run(host)
    error = caught.value
    assert (error.kind, error.exit_code, error.argv) == (captured["kind"], 100, tuple(ARGV))
    assert error.stderr.splitlines() == host.journal
    assert host.unit == Unit()  # cleared away, so that the next attempt begins anew


async def test_one_that_failed_under_another_attempt_fails_here_too() -> None:
    host = MemoryHost(unit=failed(), journal=["E: Held packages were changed and -y was used"])
    with pytest.raises(PackageError) as caught:
        await run(host)
    assert (caught.value.kind, caught.value.fault_class) == ("packages-held", FaultClass.HOST)


async def test_one_that_the_host_forgot_is_lost_and_may_be_started_again() -> None:
    with pytest.raises(TransactionLostError, match="did it reboot") as caught:
        await run(start(Unit()))
    assert caught.value.retryable


@pytest.mark.parametrize(
    "reply", ["systemd-run", "systemctl show", "journalctl --sync", "journalctl --no-pager"]
)
async def test_losing_a_reply_starts_nothing_twice(reply: str) -> None:
    host = start(succeeded())
    host.lose = [reply]
    with pytest.raises(ConnectionLostError):
        await run(host)
    ended = await run(host)
    assert ended.output == ("one", "two")
    assert host.count("systemd-run") == 1


async def test_losing_the_reply_to_the_clearing_leaves_nothing_to_attach_to() -> None:
    """Its outcome is gone, so it runs once more: apt finds the version there already."""
    host = start(succeeded())
    host.lose = ["systemctl stop"]
    with pytest.raises(ConnectionLostError):
        await run(host)
    assert not (await run(host)).attached


async def test_clearing_what_is_not_there_is_no_error() -> None:
    await transaction.clear(MemoryHost(), UNIT)


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
    state = transaction_state(parse_show(unit.shown()))
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
    host = MemoryHost(unit=failed(), journal=["Reading package lists..."])

    def arrive(host: MemoryHost) -> None:
        if host.count("journalctl --sync") == 2:
            host.journal.append("E: Held packages were changed and -y was used")

    host.deeds["journalctl --sync"] = arrive
    with pytest.raises(PackageError) as caught:
        await run(host)
    assert caught.value.kind == "packages-held"
