"""The result of a first boot, from the files of cloud-init and Relight's steps."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.domain.fault.fault import FaultClass
from relight.domain.service import Service
from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.first_boot import (
    FirstBoot,
    failure,
    observe,
    parse,
)
from relight.hosts.questions import Section
from tests.support.memory_shell import HOST, MemoryHost

UNIT = "lantern-box.service"
SERVICE = Service("lantern-box", UNIT, "/usr/bin/lantern-box", timedelta())
FOLDER = Path(__file__).parent / "cases" / "first-boot"
CASES: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))
}
APT_CASES = Path(__file__).parent / "cases" / "apt"
BOOT_ID = "6c7b5e3a-0000-4000-8000-000000000000"


def answers(case: Mapping[str, Any]) -> dict[str, Section]:
    """Return the captured answers; for a missing file `cat` exits with 1."""
    return {
        name: Section(f"cat: {name}: No such file or directory", 1)
        if output is None
        else Section(output, 0)
        for name, output in case["answers"].items()
    }


@pytest.mark.parametrize("name", CASES)
def test_a_machines_answers_are_parsed(name: str) -> None:
    case = CASES[name]
    boot = parse(answers(case))
    assert boot.boot_id == case["boot_id"]
    assert boot.finished == case["finished"]
    assert boot.steps == case["steps"]
    assert boot.failed_step == case["failed_step"]
    assert [part in error for part, error in zip(case["errors"], boot.errors, strict=True)] == [
        True for _ in case["errors"]
    ]


@pytest.mark.parametrize(
    ("question", "output"),
    [
        ("result", ""),
        ("result", "{"),
        ("result", "[]"),
        ("result", "{}"),
        ("result", '{"v1": {}}'),
        ("result", '{"v1": {"errors": null}}'),
        ("steps", "install"),
        ("steps", "install zero"),
        ("steps", "install 0 0"),
    ],
)
def test_a_malformed_file_is_refused(question: str, output: str) -> None:
    found = answers(CASES["ended-well"]) | {question: Section(output, 0)}
    with pytest.raises(UnreadableAnswerError) as caught:
        parse(found)
    assert caught.value.stderr == output


async def test_observing_needs_no_root_and_reads_the_steps_after_the_result() -> None:
    """If the result exists and is read first, then the steps are complete."""
    host = MemoryHost(
        answers={
            "cat /proc": (0, f"{BOOT_ID}\n", ""),
            "cat /run": (1, "", "cat: /run/cloud-init/result.json: No such file or directory\n"),
            "cat /var": (0, "install 0\n", ""),
        }
    )
    assert await observe(host) == FirstBoot(
        BOOT_ID, finished=False, errors=(), steps={"install": 0}
    )
    assert host.as_root == set()
    assert [command.rpartition("/")[2] for command in host.ran][1:] == ["result.json", "steps"]


def ended(steps: Mapping[str, int], errors: tuple[str, ...] = ("scripts_user",)) -> FirstBoot:
    return FirstBoot(BOOT_ID, finished=True, errors=errors, steps=steps)


@pytest.mark.parametrize(
    ("apt_case", "fault_class"),
    [
        ("postinst-failed", FaultClass.RELEASE),
        ("version-not-found", FaultClass.REPOSITORY),
        ("repository-refused", FaultClass.REPOSITORY),
        ("signature-bad", FaultClass.REPOSITORY),
        ("disk-full-for-deb", FaultClass.HOST),
    ],
)
async def test_a_failed_install_has_the_reason_from_apt(
    apt_case: str, fault_class: FaultClass
) -> None:
    captured = yaml.safe_load((APT_CASES / f"{apt_case}.yaml").read_text())
    step = "relight-host step install"
    host = MemoryHost(answers={step: (0, captured["output"], "")})
    error = await failure(host, ended({"install": 100}), SERVICE)
    assert (error.step, error.exit_code, error.fault_class) == ("install", 100, fault_class)
    assert error.destination is HOST
    assert error.stderr == captured["output"]
    assert str(error).startswith("de-1-g1 (198.18.0.2): first boot, install: exit code 100: ")
    assert error.text.removeprefix("exit code 100: ") in captured["output"].replace("\n ", "\n")
    assert host.as_root == {step}


async def test_an_error_of_cloud_init_is_a_fault_of_the_host() -> None:
    host = MemoryHost(answers={"relight-host step cloud-init": (0, "Traceback: disk full\n", "")})
    boot = ended({"install": 0}, errors=("('write-files', no space)", "another"))
    error = await failure(host, boot, SERVICE)
    assert (error.step, error.exit_code) == ("cloud-init", None)
    assert error.fault_class is FaultClass.HOST
    assert error.text == "('write-files', no space); another"
    assert error.stderr == "Traceback: disk full\n"


async def test_a_step_interrupted_by_a_reboot_is_a_failure_without_an_error_of_cloud_init() -> None:
    boot = ended({}, errors=())
    assert boot.failed_step == "install"
    error = await failure(
        MemoryHost(answers={"relight-host step": (0, "Unpacking\n", "")}), boot, SERVICE
    )
    assert (error.step, error.exit_code, error.fault_class) == ("install", None, FaultClass.HOST)
    assert "did the host reboot?" in error.text
    assert error.stderr == "Unpacking\n"


def test_a_running_boot_has_not_failed_although_a_step_is_missing() -> None:
    assert FirstBoot(BOOT_ID, finished=False, errors=(), steps={}).failed_step is None
