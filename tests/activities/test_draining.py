"""The drain command: its result is reported, and its deadline is enforced."""

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
    ("command", "drained", "detail"),
    [
        ((), None, "RELIGHT_DRAIN__COMMAND is not set"),
        (("true",), True, "exit code 0"),
        (("sh", "-c", "echo three sessions; exit 3"), False, "three sessions"),
        (("sleep", "60"), False, "not ended after 0.3 s"),
        (("/no/such/program",), False, "cannot be run"),
    ],
)
async def test_the_result_is_reported_and_the_deadline_is_enforced(command, drained, detail):
    activities = DrainActivities(Drain(command, timedelta(seconds=0.3)))
    message = DrainMachineInput(route_id="r-1", machine=OLD)
    result = await ActivityEnvironment().run(activities.drain_machine, message)
    assert result.drained is drained
    assert detail in result.detail


def test_the_command_is_set_as_a_json_list(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("RELIGHT_DRAIN__COMMAND", '["drain", "--now"]')
    monkeypatch.setenv("RELIGHT_DRAIN__DEADLINE", "PT30S")
    settings: Settings = load_settings()
    assert settings.drain.command == ("drain", "--now")
    assert settings.drain.deadline == timedelta(seconds=30)
