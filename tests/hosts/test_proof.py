"""Proofs: a host is watched for the stability window, and a service that did not start."""

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from relight.domain.fault.fault import FaultClass
from relight.domain.service import OnChange
from relight.hosts import proof
from relight.hosts.errors import (
    PackageError,
    RemoteError,
    ServiceFailedError,
    StaleProcessError,
)
from relight.hosts.observation import Observation
from relight.hosts.packages import ABSENT, PackageState
from relight.hosts.proof import (
    StableObservation,
    service_failure,
    watch,
)
from relight.hosts.units import UnitState
from tests.hosts.test_verdict import (
    GOOD,
    NO_WINDOW,
    OBSERVATIONS,
    SERVICE,
    VERSION,
    WINDOW,
    unit,
)
from tests.support.memory_shell import (
    HOST,
    MemoryHost,
    Unit,
)


class Clock:
    """A clock that advances only by `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(proof, "time", made)
    monkeypatch.setattr(proof, "asyncio", made)
    return made


def host_like(*observations: Observation) -> MemoryHost:
    """A host with these observations, one after the other; the last one stays."""
    host = MemoryHost(journal=["its", "last words"])
    coming = list(observations)

    def next_observation(host: MemoryHost) -> None:
        current = coming.pop(0) if len(coming) > 1 else coming[0]
        package = current.package
        line = f"{package.status} \t{package.version}\t{package.architecture}"
        host.package = line if package != ABSENT else ""
        host.unit = as_unit(current.unit)
        host.boot_id = current.boot_id
        host.file = (int(not current.is_installed_file), current.running_file)
        host.stale = "\n".join(current.stale)
        host.verify = "".join(f"??5??????   {file}\n" for file in current.damaged)

    host.effects["relight-host observe"] = next_observation
    return host


def as_unit(state: UnitState) -> Unit:
    names = {
        "invocation_id": "invocation",
        "main_code": "code",
        "main_status": "status",
        "main_started_usec": "started",
        "main_ended_usec": "ended",
    }
    fields = dataclasses.asdict(state)
    fields["triggered_by"] = " ".join(state.triggered_by)
    return Unit(**{names.get(name, name): value for name, value in fields.items()})


async def watched(
    host: MemoryHost,
    on_observation: Callable[[Observation], None] = lambda _: None,
    window: timedelta = WINDOW,
) -> StableObservation:
    service = replace(SERVICE, stability_window=window)
    return await watch(host, service, VERSION, on_observation)


async def failure(host: MemoryHost) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await watched(host)
    error = caught.value
    assert error.destination is HOST
    assert error.attempted == "prove lantern-box 0.0.74"
    return error


async def test_a_stable_unit_is_observed_for_the_whole_window(clock: Clock) -> None:
    observations: list[Observation] = []
    stable = await watched(host_like(GOOD), observations.append)
    assert stable == StableObservation(GOOD, stable_for=WINDOW)
    assert observations == [GOOD] * 2
    assert clock.pauses == [5.0] * 2


async def test_the_last_observation_is_at_the_end_of_the_window(clock: Clock) -> None:
    stable = await watched(host_like(GOOD), window=timedelta(seconds=12))
    assert stable.stable_for == timedelta(seconds=12)
    assert clock.pauses == [5.0, 5.0, 2.0]


async def test_a_given_observation_is_the_first(clock: Clock) -> None:
    host, observations = host_like(GOOD), list[Observation]()
    given = replace(GOOD, running_file="/given")
    stable = await watch(host, SERVICE, VERSION, observations.append, first=given)
    assert observations == [given, GOOD]
    assert host.count("relight-host observe") == 2
    assert (stable.observation, stable.stable_for) == (GOOD, WINDOW)


async def test_a_given_observation_is_sufficient_for_an_empty_window(clock: Clock) -> None:
    host = host_like(GOOD)
    await watch(host, NO_WINDOW, VERSION, lambda _: None, first=GOOD)
    assert host.ran == []


async def test_a_restart_since_the_given_observation_is_a_fault(clock: Clock) -> None:
    host = host_like(unit(invocation_id="def"))
    with pytest.raises(ServiceFailedError) as caught:
        await watch(host, SERVICE, VERSION, lambda _: None, first=GOOD)
    assert caught.value.kind == "unit-restarted"


async def test_a_fault_in_the_given_observation_is_raised_at_once(clock: Clock) -> None:
    host = host_like(GOOD)
    with pytest.raises(ServiceFailedError) as caught:
        await watch(host, SERVICE, VERSION, lambda _: None, first=OBSERVATIONS["failed"][0])
    assert (caught.value.kind, caught.value.journal) == ("unit-failed", ("its", "last words"))
    assert host.count("relight-host observe") == 0


async def test_an_empty_window_is_one_observation(clock: Clock) -> None:
    host, observations = host_like(GOOD), list[Observation]()
    await watched(host, observations.append, timedelta())
    assert (host.ran, observations) == (["relight-host observe"], [])


async def test_an_observation_is_one_call_as_root(clock: Clock) -> None:
    host = host_like(GOOD)
    await watched(host, window=timedelta())
    assert set(host.ran) == host.as_root
    assert host.ran == ["relight-host observe"]


async def test_a_crash_during_the_window_is_a_fault_with_the_journal(clock: Clock) -> None:
    crashed = unit(
        active="activating", sub="auto-restart", result="signal", main_code=2, main_status=6
    )
    error = await failure(host_like(GOOD, GOOD, crashed))
    assert (error.kind, error.fault_class) == ("unit-crash-looping", FaultClass.RELEASE)
    assert error.journal == ("its", "last words")


async def test_a_crash_between_two_observations_shows_in_the_restart_counter(clock: Clock) -> None:
    error = await failure(host_like(GOOD, unit(restarts=1, invocation_id="def")))
    assert error.kind == "unit-crash-looping"


async def test_the_proof_of_a_restarted_unit_may_be_retried(clock: Clock) -> None:
    error = await failure(host_like(GOOD, unit(invocation_id="def")))
    assert (error.kind, error.fault_class, error.retryable) == (
        "unit-restarted",
        FaultClass.HOST,
        True,
    )


async def test_the_window_begins_when_a_starting_unit_is_active(clock: Clock) -> None:
    starting = unit(active="activating", sub="start")
    stable = await watched(host_like(*[starting] * 20, GOOD))
    assert stable.stable_for == WINDOW
    assert clock.now == 30
    assert clock.pauses == [1.0] * 20 + [5.0] * 2


async def test_a_unit_that_does_not_finish_starting_is_not_active(clock: Clock) -> None:
    error = await failure(host_like(unit(active="activating", sub="start")))
    assert (error.kind, clock.now) == ("unit-not-active", proof.START_TIMEOUT.total_seconds())


async def test_a_unit_that_reloads_during_the_window_is_waited_for(clock: Clock) -> None:
    reloading = unit(active="reloading", sub="reload")
    stable = await watched(host_like(GOOD, reloading, GOOD))
    assert stable.observation == GOOD


@pytest.mark.parametrize("name", ["masked", "half-configured", "wrong version", "failed"])
async def test_a_permanent_fault_is_raised_at_once(clock: Clock, name: str) -> None:
    stable, kind, _ = OBSERVATIONS[name]
    error = await failure(host_like(stable))
    assert (error.kind, clock.now) == (kind, 0)
    # The unit's journal says nothing about the package.
    assert bool(error.journal) == isinstance(error, ServiceFailedError)


async def test_a_fault_of_the_package_is_raised_at_once_while_the_unit_starts(
    clock: Clock,
) -> None:
    stable = replace(
        unit(active="activating", sub="start"), package=PackageState("iF", "0.0.74", "amd64")
    )
    assert isinstance(await failure(host_like(stable)), PackageError)
    assert clock.now == 0


@pytest.mark.parametrize("file", ["", "/usr/lib/systemd/systemd"])
async def test_a_process_that_was_just_forked_is_observed_again(clock: Clock, file: str) -> None:
    forked = replace(GOOD, running_file=file, is_installed_file=False)
    assert (await watched(host_like(forked, GOOD))).stable_for == WINDOW


async def test_a_stale_process_is_an_error_at_the_second_observation(clock: Clock) -> None:
    stale = OBSERVATIONS["stale"][0]
    error = await failure(host_like(stale))
    assert isinstance(error, StaleProcessError)
    assert clock.now == 1
    assert error.journal == ("its", "last words")


async def test_a_crash_loop_whose_process_is_gone_at_each_observation_is_no_stale_process(
    clock: Clock,
) -> None:
    first, second = (
        replace(unit(restarts=count), running_file="", is_installed_file=False) for count in (1, 3)
    )
    assert (await failure(host_like(first, second))).kind == "unit-crash-looping"
    assert clock.now == 1


async def test_a_process_that_ends_during_an_observation_is_a_crash(clock: Clock) -> None:
    gone = replace(GOOD, running_file="", is_installed_file=False)
    crashed = OBSERVATIONS["exited"][0]
    assert (await failure(host_like(gone, crashed))).kind == "unit-crash-looping"


async def test_a_damaged_file_is_found_by_any_observation(
    clock: Clock,
) -> None:
    error = await failure(host_like(GOOD, replace(GOOD, damaged=("/usr/bin/lantern-box",))))
    assert (error.kind, error.fault_class) == ("package-damaged", FaultClass.HOST)
    assert error.text.endswith(": /usr/bin/lantern-box")


async def test_an_edited_configuration_file_is_not_damage(clock: Clock) -> None:
    host = MemoryHost(verify="??5?????? c /etc/lantern-box/config.json\n")
    assert (await watched(host)).observation == GOOD


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("masked", "unit-masked"),
        ("masked while it runs", "unit-masked"),
        ("no unit", "unit-not-found"),
        ("failed", "unit-failed"),
        ("exited", "unit-crash-looping"),
        # Neither failed nor active: it did not start.
        ("stopped", "unit-failed"),
        ("starting", "unit-failed"),
        ("healthy", "unit-failed"),
    ],
)
async def test_a_service_that_did_not_start_is_judged_by_its_unit(name: str, kind: str) -> None:
    host = MemoryHost(journal=["its", "last words"])
    error = await service_failure(host, OBSERVATIONS[name][0], SERVICE, VERSION, "it did not start")
    assert isinstance(error, ServiceFailedError)
    assert error.kind == kind
    assert error.journal == ("its", "last words")
    assert error.destination is HOST
    assert (error.attempted, error.exit_code) == ("restart lantern-box.service", 90)
    assert host.as_root == {"relight-host journal 20"}


@pytest.mark.parametrize(
    ("words", "text"),
    [("it did not start", "it did not start"), ("", "lantern-box.service did not start")],
)
async def test_the_message_of_the_attempt_is_the_reason_if_the_service_runs_by_now(
    words: str, text: str
) -> None:
    assert (await service_failure(MemoryHost(), GOOD, SERVICE, VERSION, words)).text == text


async def test_old_processes_may_end_their_work_after_a_reload(clock: Clock) -> None:
    draining = replace(GOOD, is_installed_file=False, stale=("lantern-box.service has process 8",))
    host = host_like(draining, draining, draining, GOOD)
    service = replace(SERVICE, on_change=OnChange.RELOAD)
    stable = await watch(host, service, VERSION, lambda _: None)
    assert (stable.observation, clock.pauses[:3]) == (GOOD, [1.0] * 3)


async def test_a_process_that_stays_after_a_reload_is_stale(clock: Clock) -> None:
    stays = replace(GOOD, is_installed_file=False, stale=("lantern-box.service has process 8",))
    service = replace(SERVICE, on_change=OnChange.RELOAD)
    with pytest.raises(StaleProcessError, match="has process 8"):
        await watch(host_like(stays), service, VERSION, lambda _: None)
    assert clock.now >= proof.RELOAD_TIMEOUT.total_seconds()
