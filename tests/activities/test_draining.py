"""The operator's program that drains a machine: it may say no, or nothing, and keeps nothing up."""

from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.machine.drain import Drain, DrainActivities
from relight.domain.machine import Machine, MachineStatus
from relight.domain.replacement import DrainMachineInput
from relight.settings import Settings, load_settings

OLD = Machine(
    key="r-1-g1",
    provider="lab",
    provider_id="id",
    region="east",
    architecture="amd64",
    status=MachineStatus.RUNNING,
    address="192.0.2.7",
)


@pytest.mark.parametrize(
    ("command", "drained", "seen"),
    [
        ((), None, "no RELIGHT_DRAIN__COMMAND"),
        (("true",), True, "exit code 0"),
        (("sh", "-c", "echo three sessions; exit 3"), False, "three sessions"),
        (("sleep", "60"), False, "not ended after 0.3 s"),
        (("/no/such/program",), False, "cannot be run"),
    ],
)
async def test_what_it_says_is_told_and_its_deadline_is_kept(command, drained, seen):
    activities = DrainActivities(Drain(command, timedelta(seconds=0.3)))
    asked = DrainMachineInput(route_id="r-1", machine=OLD)
    told = await ActivityEnvironment().run(activities.drain_machine, asked)
    assert told.drained is drained
    assert seen in told.seen


def test_it_is_set_as_a_list_of_words(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("RELIGHT_DRAIN__COMMAND", '["drain", "--now"]')
    monkeypatch.setenv("RELIGHT_DRAIN__DEADLINE", "PT30S")
    settings: Settings = load_settings()
    assert settings.drain.command == ("drain", "--now")
    assert settings.drain.deadline == timedelta(seconds=30)
