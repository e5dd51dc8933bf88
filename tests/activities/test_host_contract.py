"""What the activities may rely on from a host: a real Debian machine, and the simulated one."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from temporalio.testing import ActivityEnvironment

from activities.faults import describe
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.machine import FirstBootFinished
from relight.domain.proof import ReleaseSwapped
from relight.hosts.errors import (
    HostKeyMismatchError,
    PackageError,
    ProbeFailedError,
    RemoteError,
    ServiceFailedError,
    fault_of,
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
    assert proof.stable_for >= host.service.stability_window
    assert proof.probe == f"GET http://{host.machine.address}:8899/healthz: 200"


async def test_a_swap_installs_the_release_starts_it_anew_and_proves_it(host: Subject) -> None:
    before = await host.settle_at("0.0.73")
    swapped = await host.swap("0.0.74")
    assert not swapped.attached
    assert (swapped.proof.version, swapped.proof.executable) == ("0.0.74", EXECUTABLE)
    assert swapped.proof.invocation_id != before.invocation_id
    assert swapped.proof.stable_for >= host.service.stability_window
    assert swapped.proof.probe.endswith(":8899/healthz: 200")


async def test_a_swap_to_what_runs_already_leaves_the_process_alone(host: Subject) -> None:
    before = await host.settle_at("0.0.74")
    run = host.new_run()
    first, again = await host.swap("0.0.74", run=run), await host.swap("0.0.74", run=run)
    assert first.unit == again.unit
    assert before.invocation_id == first.proof.invocation_id == again.proof.invocation_id


async def test_each_attempt_leaves_an_event_that_says_who_asked_what_ran_and_what_was_seen(
    host: Subject,
) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(PackageError):
        await host.swap("0.0.99")
    well, badly = host.store.events.list(kind="swap-attempted")[-2:]
    assert (well.requested_by, well.reason) == (ORIGIN.requested_by, ORIGIN.reason)
    assert (well.machine_key, well.release_tag) == (host.machine.key, "v0.0.74")
    assert (well.detail["attempt"], well.detail["ran"]) == (1, ["0.0.74", "rollback"])
    assert ReleaseSwapped.model_validate(well.detail["seen"]).proof.version == "0.0.74"
    assert (badly.fault_kind, badly.release_tag) == ("version-not-listed", "v0.0.99")
    assert "0.0.99" in Fault.model_validate(badly.detail["seen"]).summary


async def test_an_attempt_whose_worker_went_away_is_found_again_by_the_next(
    host: Subject,
) -> None:
    await host.settle_at("0.0.73")
    run, environment = host.new_run(), ActivityEnvironment()
    # It goes away while the new process is being watched; the change is kept on the host.
    environment.on_heartbeat = lambda *_: environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await host.swap("0.0.74", run=run, environment=environment)
    swapped = await host.swap("0.0.74", run=run)
    assert swapped.attached
    assert swapped.proof.version == "0.0.74"


async def test_a_maintainer_script_that_fails_is_the_releases_fault(host: Subject) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(PackageError, match="error exit status 3") as caught:
        await host.swap("0.0.75")
    assert fault_and_class(caught.value) == (
        "maintainer-script-failed",
        FaultClass.RELEASE,
        False,
    )
    assert caught.value.exit_code == 100
    with pytest.raises(PackageError, match=r"0.0.75 is not wholly installed: iF"):
        await host.prove("0.0.75")

    with pytest.raises(PackageError) as refused:
        await host.swap("0.0.74")
    assert fault_and_class(refused.value) == ("downgrade-refused", FaultClass.CONTROLLER, False)
    before = await host.swap("0.0.74", allow_downgrade=True)
    assert before.proof.version == "0.0.74"


async def test_a_daemon_that_crashes_is_not_proven_and_its_last_words_are_shown(
    host: Subject,
) -> None:
    await host.settle_at("0.0.74")
    with pytest.raises(ServiceFailedError, match="ended by itself") as caught:
        await host.swap("0.0.76")
    assert fault_and_class(caught.value) == ("unit-crash-looping", FaultClass.RELEASE, False)
    assert any("panic: runtime error" in line for line in fault_of(caught.value).journal_tail)
    assert caught.value.host == host.machine.address


async def test_a_daemon_that_is_not_healthy_says_why(host: Subject) -> None:
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
    show = ("systemctl", "show", "--value", "--property=MainPID", host.service.unit)
    pid = on_the_lab.run(machine_id, *show).stdout.strip()
    environment = on_the_lab.run(machine_id, "cat", f"/proc/{pid}/environ").stdout.split("\0")
    assert f"LANTERN_TOKEN={HOSTILE_TOKEN}" in environment
    modes = on_the_lab.run(
        machine_id, "stat", "-c", "%a %U", f"/etc/default/{host.service.package}", EXECUTABLE
    )
    assert modes.stdout.splitlines() == ["600 root", "755 root"]
