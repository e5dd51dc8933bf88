"""Failed first boots of real machines, and the faults that they report."""

import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from activities.execution import fault_of
from relight.domain.fault.fault import FaultClass
from relight.hosts import first_boot
from relight.hosts.cloud_init.user_data import SERVICE_FILES
from relight.hosts.errors import (
    FirstBootFailedError,
    ServiceFailedError,
)
from tests.support.contract_hosts import Subject, lab_subject
from tests.support.lab import Lab

pytestmark = pytest.mark.lab

DROP_IN = "etc/systemd/system/lantern-box.service.d/check.conf.j2"


@pytest.fixture(scope="module")
async def subjects(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Subject]]:
    """One machine for each kind of failure. They boot at the same time."""
    checked = tmp_path_factory.mktemp("checked") / "files"
    shutil.copytree(SERVICE_FILES, checked)
    (checked / DROP_IN).parent.mkdir(parents=True)
    (checked / DROP_IN).write_text(
        "[Service]\nExecStartPre=/bin/sh -c 'echo {{ plan.region }} has no licence; exit 7'\n"
    )
    unconfigured = tmp_path_factory.mktemp("unconfigured") / "files"
    shutil.copytree(SERVICE_FILES, unconfigured)
    (unconfigured / "etc/lantern-box/config.json.j2").unlink()

    async with AsyncExitStack() as stack:

        async def boot(
            name: str,
            version: str = "0.0.73",
            *,
            repository_url: str = "",
            service_files: Path | None = None,
        ) -> Subject:
            key = f"{name}-{uuid.uuid4().hex[:6]}-g1"
            booting = lab_subject(
                lab, key, version, repository_url=repository_url, service_files=service_files
            )
            return await stack.enter_async_context(booting)

        url = lab.repository_url.rstrip("/")
        yield {
            "refused": await boot("refused", repository_url="http://127.0.0.1:9"),
            "wrong-path": await boot("wrong-path", repository_url=f"{url}/nowhere"),
            "absent": await boot("absent", "0.0.99"),
            "script": await boot("script", "0.0.75"),
            "check": await boot("check", service_files=checked),
            "unconfigured": await boot("unconfigured", service_files=unconfigured),
        }


async def failure(subject: Subject) -> FirstBootFailedError:
    with pytest.raises(FirstBootFailedError) as caught:
        await subject.first_boot()
    error = caught.value
    fault = fault_of(error)
    assert (fault.kind, error.retryable) == ("first-boot-failed", False)
    assert fault.attempted == f"first boot, {error.step}"
    assert (fault.machine_key, fault.host) == (subject.machine.key, subject.machine.address)
    assert fault.summary.startswith(f"{subject.machine.key} ({subject.machine.address}): ")
    return error


@pytest.mark.parametrize(
    ("name", "fault_class", "words"),
    [
        ("refused", FaultClass.REPOSITORY, "Connection refused"),
        ("wrong-path", FaultClass.REPOSITORY, "does not have a Release file"),
        ("absent", FaultClass.REPOSITORY, "Version '0.0.99' for 'lantern-box' was not found"),
        ("script", FaultClass.RELEASE, "error exit status 3"),
    ],
)
async def test_a_failed_install_contains_apts_reason(
    subjects: dict[str, Subject], name: str, fault_class: FaultClass, words: str
) -> None:
    error = await failure(subjects[name])
    assert (error.step, error.exit_code, error.fault_class) == ("install", 100, fault_class)
    assert words in error.text
    assert words in fault_of(error).stderr_tail


async def test_a_failed_maintainer_script_contains_its_output(subjects: dict[str, Subject]) -> None:
    error = await failure(subjects["script"])
    assert "lantern-box: cannot migrate the state" in fault_of(error).stderr_tail


async def test_a_service_that_does_not_start_contains_its_journal(
    subjects: dict[str, Subject],
) -> None:
    with pytest.raises(ServiceFailedError) as caught:
        await subjects["check"].first_boot()
    fault = fault_of(caught.value)
    assert fault.fault_class is FaultClass.RELEASE
    assert any("lab-east has no licence" in line for line in fault.journal_tail)


async def test_the_proof_of_a_service_without_its_configuration_contains_its_journal(
    subjects: dict[str, Subject],
) -> None:
    """systemd counts a start as successful once the process exists, so the boot succeeds."""
    subject = subjects["unconfigured"]
    assert (await subject.first_boot()).steps == ("install",)
    with pytest.raises(ServiceFailedError) as caught:
        await subject.prove("0.0.73")
    error = caught.value
    assert error.fault_class is FaultClass.RELEASE
    assert "(exit-code, 1)" in error.text or error.kind == "unit-crash-looping"
    words = "cannot read the configuration /etc/lantern-box/config.json"
    assert any(words in line for line in fault_of(error).journal_tail)


async def test_a_boot_that_a_reboot_interrupted_is_a_failure(
    lab: Lab, subjects: dict[str, Subject]
) -> None:
    """cloud-init does not repeat the step at the next boot, and reports no error."""
    subject = subjects["absent"]
    await failure(subject)  # waits for its first boot
    machine_id = lab.machine_id(subject.machine.key)
    # As after a reboot during apt's work: the step has no end.
    lab.run(machine_id, "rm", f"{first_boot.RECORD_FOLDER}/steps")
    leader = lab.leader(machine_id)
    lab.run(machine_id, "systemctl", "--no-block", "reboot")
    lab.until_rebooted(machine_id, leader)
    error = await failure(subject)
    assert (error.step, error.exit_code, error.fault_class) == ("install", None, FaultClass.HOST)
    assert "did the host reboot?" in error.text
