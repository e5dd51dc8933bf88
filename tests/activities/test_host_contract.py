"""The contract of hosts for the activities: a real Debian machine and the simulated host."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from temporalio.testing import ActivityEnvironment

from activities.execution import fault_of
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.machine import FirstBootFinished
from relight.domain.proof import ReleaseSwapped
from relight.hosts.errors import (
    HostKeyMismatchError,
    PackageError,
    ProbeFailedError,
    RemoteError,
    ServiceFailedError,
)
from tests.support.contract_hosts import (
    ORIGIN,
    Subject,
    lab_hosts,
    lab_subject,
    simulated_subject,
)
from tests.support.lab import Lab

EXECUTABLE = "/usr/bin/lantern-box"
HOSTILE_TOKEN = "a \"b\" 'c' $HOME `d` \\e #f; {{ g }} é\U0001f40c\n  second line "


@pytest.fixture(scope="module", params=["simulated", pytest.param("lab", marks=pytest.mark.lab)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """One machine that was created with 0.0.73. Each test first installs the version it needs."""
    key = f"contract-{uuid.uuid4().hex[:6]}-g1"
    if request.param == "simulated":
        context = simulated_subject(key, "0.0.73")
    else:
        lab: Lab = request.getfixturevalue("lab")
        context = lab_subject(lab, key, "0.0.73", secrets={"LANTERN_TOKEN": HOSTILE_TOKEN})
    async with context as subject:
        yield subject


@pytest.fixture(scope="module")
async def booted(subject: Subject) -> FirstBootFinished:
    return await subject.first_boot()


@pytest.fixture
async def host(subject: Subject, booted: FirstBootFinished) -> Subject:
    return subject


@pytest.fixture
def on_the_lab(subject: Subject, request: pytest.FixtureRequest) -> Lab:
    if subject.machine.provider != "lab":
        pytest.skip("the simulated host has no such property")
    found: Lab = request.getfixturevalue("lab")
    return found


def fault_and_class(error: RemoteError) -> tuple[str, FaultClass, bool]:
    fault = fault_of(error)
    return fault.kind, fault.fault_class, error.retryable


async def test_the_first_boot_succeeds_and_lists_its_steps(
    host: Subject, booted: FirstBootFinished
) -> None:
    assert booted.steps == ("install",)
    assert len(booted.boot_id) == len(str(uuid.uuid4()))
    assert await host.first_boot() == booted  # a second call returns the same


async def test_after_the_first_boot_the_release_is_proven(host: Subject) -> None:
    proof = await host.prove("0.0.73")
    assert (proof.release_tag, proof.version) == ("v0.0.73", "0.0.73")
    assert proof.executable == EXECUTABLE
    assert proof.restarts == 0
    assert proof.stable_for >= host.service.stability_window
    assert proof.probe == f"GET http://{host.machine.address}:8899/healthz: 200"


async def test_a_swap_installs_the_release_restarts_the_service_and_proves_it(
    host: Subject,
) -> None:
    before = await host.settle_at("0.0.73")
    swapped = await host.swap("0.0.74")
    assert not swapped.attached
    assert (swapped.proof.version, swapped.proof.executable) == ("0.0.74", EXECUTABLE)
    assert swapped.proof.invocation_id != before.invocation_id
    assert swapped.proof.stable_for >= host.service.stability_window
    assert swapped.proof.probe.endswith(":8899/healthz: 200")


async def test_a_swap_to_the_running_release_keeps_the_process(host: Subject) -> None:
    before = await host.settle_at("0.0.74")
    run = host.new_run()
    first, again = await host.swap("0.0.74", run=run), await host.swap("0.0.74", run=run)
    assert first.unit == again.unit
    assert before.invocation_id == first.proof.invocation_id == again.proof.invocation_id


async def test_each_attempt_writes_an_event_with_its_requester_command_and_result(
    host: Subject,
) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(PackageError):
        await host.swap("0.0.99")
    succeeded, failed = host.store.events.list(kind="swap-attempted")[-2:]
    assert (succeeded.requested_by, succeeded.reason) == (ORIGIN.requested_by, ORIGIN.reason)
    assert (succeeded.machine_key, succeeded.release_tag) == (host.machine.key, "v0.0.74")
    assert (succeeded.detail["attempt"], succeeded.detail["ran"]) == (1, ["0.0.74", "rollback"])
    assert ReleaseSwapped.model_validate(succeeded.detail["seen"]).proof.version == "0.0.74"
    assert (failed.fault_kind, failed.release_tag) == ("version-not-listed", "v0.0.99")
    assert "0.0.99" in Fault.model_validate(failed.detail["seen"]).summary


async def test_the_next_attempt_attaches_to_the_change_of_a_cancelled_one(
    host: Subject,
) -> None:
    await host.settle_at("0.0.73")
    run, environment = host.new_run(), ActivityEnvironment()
    # It is cancelled during the stability window. The change stays on the host.
    environment.on_heartbeat = lambda *_: environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await host.swap("0.0.74", run=run, environment=environment)
    swapped = await host.swap("0.0.74", run=run)
    assert swapped.attached
    assert swapped.proof.version == "0.0.74"


async def test_a_failing_maintainer_script_is_a_release_fault(host: Subject) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(PackageError, match="error exit status 3") as caught:
        await host.swap("0.0.75")
    assert fault_and_class(caught.value) == (
        "maintainer-script-failed",
        FaultClass.RELEASE,
        False,
    )
    assert caught.value.exit_code == 100
    with pytest.raises(PackageError, match=r"0.0.75 is not fully installed: iF"):
        await host.prove("0.0.75")

    with pytest.raises(PackageError) as refused:
        await host.swap("0.0.74")
    assert fault_and_class(refused.value) == ("downgrade-refused", FaultClass.CONTROLLER, False)
    before = await host.swap("0.0.74", allow_downgrade=True)
    assert before.proof.version == "0.0.74"


async def test_a_service_that_crashes_is_not_proven_and_its_journal_is_in_the_fault(
    host: Subject,
) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(ServiceFailedError, match="ended by itself") as caught:
        await host.swap("0.0.76")
    assert fault_and_class(caught.value) == ("unit-crash-looping", FaultClass.RELEASE, False)
    assert any("panic: runtime error" in line for line in fault_of(caught.value).journal_tail)
    assert caught.value.host == host.machine.address


async def test_a_failed_health_probe_is_in_the_fault_with_its_answer(host: Subject) -> None:
    with pytest.raises(ProbeFailedError, match=r"503 .*no upstream answers") as caught:
        await host.swap("0.0.77", allow_downgrade=True)
    assert fault_and_class(caught.value) == ("probe-failed", FaultClass.RELEASE, False)
    assert any("version 0.0.77 starts" in line for line in fault_of(caught.value).journal_tail)


async def test_a_version_that_is_not_listed_is_refused_and_changes_nothing(
    host: Subject,
) -> None:
    before = await host.settle_at("0.0.74")
    with pytest.raises(PackageError, match=r"'0.0.99' for 'lantern-box' was not found") as caught:
        await host.swap("0.0.99")
    assert fault_and_class(caught.value) == ("version-not-listed", FaultClass.REPOSITORY, True)
    assert (await host.prove("0.0.74")).invocation_id == before.invocation_id


async def test_another_version_than_the_expected_one_is_not_proven(host: Subject) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(PackageError, match=r"is at 0.0.74, not 0.0.73") as caught:
        await host.prove("0.0.73")
    assert fault_and_class(caught.value) == ("package-version-differs", FaultClass.HOST, False)


async def test_a_machine_with_another_host_key_is_refused(host: Subject, on_the_lab: Lab) -> None:
    other_secret = lab_hosts(host_key_secret=bytes(32))
    with pytest.raises(HostKeyMismatchError) as caught:
        async with other_secret.connect(host.machine):
            pytest.fail("the connection was accepted")
    assert fault_and_class(caught.value) == ("host-key-mismatch", FaultClass.HOST, False)
    assert caught.value.machine_key == host.machine.key


async def test_the_machine_has_the_derived_host_key_and_no_other(
    host: Subject, on_the_lab: Lab
) -> None:
    machine_id = on_the_lab.machine_id(host.machine.key)
    listed = on_the_lab.run(machine_id, "sh", "-c", "ls /etc/ssh/ssh_host_*").stdout.split()
    assert listed == ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub"]


async def test_the_service_gets_its_secret_unchanged_and_only_root_can_read_the_file(
    host: Subject, on_the_lab: Lab
) -> None:
    await host.settle_at("0.0.74")
    machine_id = on_the_lab.machine_id(host.machine.key)
    show = ("systemctl", "show", "--value", "--property=MainPID", host.service.unit)
    pid = on_the_lab.run(machine_id, *show).stdout.strip()
    environment = on_the_lab.run(machine_id, "cat", f"/proc/{pid}/environ").stdout.split("\0")
    assert f"LANTERN_TOKEN={HOSTILE_TOKEN}" in environment
    modes = on_the_lab.run(
        machine_id, "stat", "-c", "%a %U", f"/etc/default/{host.service.package}", EXECUTABLE
    )
    assert modes.stdout.splitlines() == ["600 root", "755 root"]
