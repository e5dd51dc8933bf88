"""What the activities may rely on from a host: a real Debian machine, and the simulated one."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from temporalio.testing import ActivityEnvironment

from activities.errors import describe
from messages.faults import FaultClass
from messages.machine import FirstBootFinished
from remote.errors import (
    HostKeyMismatchError,
    PackageError,
    ProbeFailedError,
    RemoteError,
    ServiceFailedError,
    StaleProcessError,
    fault_of,
)
from tests.support.contract_hosts import Subject, lab_hosts, lab_subject, simulated_subject
from tests.support.lab import Lab

EXECUTABLE = "/usr/bin/lantern-box"
HOSTILE_TOKEN = "a \"b\" 'c' $HOME `d` \\e #f; {{ g }} é\U0001f40c\n  second line "


@pytest.fixture(scope="module", params=["simulated", pytest.param("lab", marks=pytest.mark.lab)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """One machine that was created with 0.0.73; each test brings it to where it begins."""
    key = f"contract-{uuid.uuid4().hex[:6]}-g1"
    if request.param == "simulated":
        context = simulated_subject(key, "0.0.73")
    else:
        lab: Lab = request.getfixturevalue("lab")
        context = lab_subject(lab, key, "0.0.73", secrets={"LANTERN_TOKEN": HOSTILE_TOKEN})
    async with context as made:
        yield made


@pytest.fixture(scope="module")
async def booted(subject: Subject) -> FirstBootFinished:
    return await subject.first_boot()


@pytest.fixture
async def host(subject: Subject, booted: FirstBootFinished) -> Subject:
    return subject


@pytest.fixture
def on_the_lab(subject: Subject, request: pytest.FixtureRequest) -> Lab:
    if subject.machine.provider != "lab":
        pytest.skip("only a real machine has this")
    found: Lab = request.getfixturevalue("lab")
    return found


def fault_and_class(error: RemoteError) -> tuple[str, FaultClass, bool]:
    fault = describe(error)
    return fault.kind, fault.fault_class, error.retryable


async def test_the_first_boot_ends_well_and_lists_its_steps(
    host: Subject, booted: FirstBootFinished
) -> None:
    assert booted.steps == ("install", "service")
    assert len(booted.boot_id) == len(str(uuid.uuid4()))
    assert await host.first_boot() == booted  # whoever asks again hears the same


async def test_after_the_first_boot_the_release_is_proven(host: Subject) -> None:
    proof = await host.prove("0.0.73")
    assert (proof.release_tag, proof.version) == ("v0.0.73", "0.0.73")
    assert proof.executable == EXECUTABLE
    assert proof.restarts == 0
    assert proof.stable_for >= host.daemon.stability_window
    assert proof.probe == f"GET http://{host.machine.address}:8899/healthz: 200"


async def test_an_install_leaves_the_old_process_running_until_it_is_restarted(
    host: Subject,
) -> None:
    await host.settle_at("0.0.73")
    before = await host.prove("0.0.73")
    installed = await host.install("0.0.74")
    assert not installed.attached
    with pytest.raises(StaleProcessError, match=r"/usr/bin/lantern-box \(deleted\)") as caught:
        await host.prove("0.0.74")
    assert fault_and_class(caught.value) == ("stale-process", FaultClass.HOST, False)

    restarted = await host.restart("0.0.74")
    assert not restarted.was_running
    assert restarted.invocation_id != before.invocation_id
    again = await host.restart("0.0.74")
    assert again.was_running
    assert again.invocation_id == restarted.invocation_id

    proof = await host.prove("0.0.74")
    assert (proof.version, proof.executable) == ("0.0.74", EXECUTABLE)
    assert proof.invocation_id == restarted.invocation_id
    assert proof.probe.endswith(":8899/healthz: 200")


async def test_installing_what_is_there_changes_nothing(host: Subject) -> None:
    await host.settle_at("0.0.74")
    before = await host.prove("0.0.74")
    run = host.new_run()
    first, again = await host.install("0.0.74", run=run), await host.install("0.0.74", run=run)
    assert first.unit == again.unit
    after = await host.prove("0.0.74")
    assert after.invocation_id == before.invocation_id


async def test_an_attempt_whose_worker_went_away_is_found_again_by_the_next(
    host: Subject,
) -> None:
    await host.settle_at("0.0.73")
    run, environment = host.new_run(), ActivityEnvironment()
    environment.on_heartbeat = lambda *_: environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await host.install("0.0.74", run=run, environment=environment)
    assert (await host.install("0.0.74", run=run)).attached
    await host.restart("0.0.74")
    assert (await host.prove("0.0.74")).version == "0.0.74"


async def test_a_maintainer_script_that_fails_is_the_releases_fault(host: Subject) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(PackageError, match="error exit status 3") as caught:
        await host.install("0.0.75")
    assert fault_and_class(caught.value) == (
        "maintainer-script-failed",
        FaultClass.RELEASE,
        False,
    )
    assert caught.value.exit_code == 100
    with pytest.raises(PackageError, match=r"0.0.75 is not wholly installed: iF"):
        await host.prove("0.0.75")

    with pytest.raises(PackageError) as refused:
        await host.install("0.0.74")
    assert fault_and_class(refused.value) == ("downgrade-refused", FaultClass.CONTROLLER, False)
    await host.install("0.0.74", allow_downgrade=True)
    # It is the same version, and another file: the process runs the one that was replaced.
    assert not (await host.restart("0.0.74")).was_running
    assert (await host.prove("0.0.74")).version == "0.0.74"


async def test_a_daemon_that_crashes_is_not_proven_and_its_last_words_are_shown(
    host: Subject,
) -> None:
    await host.settle_at("0.0.74")
    await host.install("0.0.76")
    await host.restart("0.0.76")
    with pytest.raises(ServiceFailedError, match="ended by itself") as caught:
        await host.prove("0.0.76")
    assert fault_and_class(caught.value) == ("unit-crash-looping", FaultClass.RELEASE, False)
    assert any("panic: runtime error" in line for line in fault_of(caught.value).journal_tail)
    assert caught.value.host == host.machine.address


async def test_a_daemon_that_is_not_healthy_says_why(host: Subject) -> None:
    await host.settle_at("0.0.77")
    with pytest.raises(ProbeFailedError, match=r"503 .*no upstream answers") as caught:
        await host.prove("0.0.77")
    assert fault_and_class(caught.value) == ("probe-failed", FaultClass.RELEASE, False)
    assert any("version 0.0.77 starts" in line for line in fault_of(caught.value).journal_tail)


async def test_a_version_that_is_not_listed_is_refused_and_changes_nothing(
    host: Subject,
) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(PackageError, match=r"'0.0.99' for 'lantern-box' was not found") as caught:
        await host.install("0.0.99")
    assert fault_and_class(caught.value) == ("version-not-listed", FaultClass.REPOSITORY, True)
    assert (await host.restart("0.0.74")).was_running


async def test_another_version_than_the_expected_one_is_no_proof(host: Subject) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(PackageError, match=r"is at 0.0.74, not 0.0.73") as caught:
        await host.prove("0.0.73")
    assert fault_and_class(caught.value) == ("package-version-differs", FaultClass.HOST, False)


async def test_a_machine_with_another_host_key_is_never_spoken_to(
    host: Subject, on_the_lab: Lab
) -> None:
    stranger = lab_hosts(host_key_secret=bytes(32))
    with pytest.raises(HostKeyMismatchError) as caught:
        async with stranger.connect(host.machine):
            pytest.fail("it let us in")
    assert fault_and_class(caught.value) == ("host-key-mismatch", FaultClass.HOST, False)
    assert caught.value.machine_key == host.machine.key


async def test_the_machine_has_the_derived_host_key_and_no_other(
    host: Subject, on_the_lab: Lab
) -> None:
    machine_id = on_the_lab.machine_id(host.machine.key)
    listed = on_the_lab.run(machine_id, "sh", "-c", "ls /etc/ssh/ssh_host_*").stdout.split()
    assert listed == ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub"]


async def test_the_daemon_gets_its_secret_byte_for_byte_and_nobody_else_can_read_it(
    host: Subject, on_the_lab: Lab
) -> None:
    await host.settle_at("0.0.74")
    machine_id = on_the_lab.machine_id(host.machine.key)
    show = ("systemctl", "show", "--value", "--property=MainPID", host.daemon.unit)
    pid = on_the_lab.run(machine_id, *show).stdout.strip()
    environment = on_the_lab.run(machine_id, "cat", f"/proc/{pid}/environ").stdout.split("\0")
    assert f"LANTERN_TOKEN={HOSTILE_TOKEN}" in environment
    modes = on_the_lab.run(
        machine_id, "stat", "-c", "%a %U", f"/etc/default/{host.daemon.package}", EXECUTABLE
    )
    assert modes.stdout.splitlines() == ["600 root", "755 root"]
