"""Proof: what a host is seen to run, and for how long."""

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from relight.domain.fault.fault import FaultClass
from relight.hosts import proof
from relight.hosts.dpkg import ABSENT, PackageState
from relight.hosts.errors import (
    PackageError,
    RemoteError,
    ServiceFailedError,
    StaleProcessError,
)
from relight.hosts.observation import Observation
from relight.hosts.proof import (
    Expected,
    Seen,
    service_failure,
    verdict,
    watch,
)
from relight.hosts.systemd import UnitState, parse_shown
from tests.support.memory_shell import (
    HOST,
    MemoryHost,
    Unit,
    running,
)

EXPECTED = Expected("lantern-box", "0.0.74", "lantern-box.service", "/usr/bin/lantern-box")
INSTALLED = PackageState("ii", "0.0.74", "amd64")
(UP,) = parse_shown(running().shown())
GOOD = Observation(
    INSTALLED, UP, "/usr/bin/lantern-box", is_installed_file=True, damaged=(), boot_id="b-1"
)
WINDOW = timedelta(seconds=10)


def unit(**how: object) -> Observation:
    return replace(GOOD, unit=replace(UP, **how))  # type: ignore[arg-type]


def package(status: str, version: str = "0.0.74") -> Observation:
    return replace(GOOD, package=PackageState(status, version, "amd64"))


LOOKS: dict[str, tuple[Observation, str | None, str]] = {
    "all as it should be": (GOOD, None, ""),
    "held": (package("hi"), None, ""),
    "absent": (replace(GOOD, package=ABSENT), "package-version-differs", "is at no version"),
    "wrong version": (package("ii", "0.0.73"), "package-version-differs", "at 0.0.73, not 0.0.74"),
    "a Debian revision": (package("ii", "0.0.74-1"), "package-version-differs", "0.0.74-1"),
    "half-configured": (package("iF"), "package-not-installed", "not wholly installed: iF"),
    "half-installed": (package("iHR"), "package-not-installed", "iHR"),
    "removed": (package("rc"), "package-not-installed", "rc"),
    "held and half-configured": (package("hF"), "package-not-installed", "hF"),
    "damaged": (
        replace(GOOD, damaged=("/usr/bin/lantern-box", "/usr/lib/x")),
        "package-damaged",
        "not as the package brought them: /usr/bin/lantern-box, /usr/lib/x",
    ),
    "masked": (unit(load="masked", active="inactive", sub="dead"), "unit-masked", "forbade"),
    "masked while it runs": (unit(unit_file="masked-runtime"), "unit-masked", "forbade"),
    "no unit": (unit(load="not-found", active="inactive", sub="dead"), "unit-not-found", "no unit"),
    "crashed": (
        unit(active="activating", sub="auto-restart", result="signal", main_code=2, main_status=6),
        "unit-crash-looping",
        "ended by itself (signal, SIGABRT); systemd restarts it again (0 restarts so far)",
    ),
    "dumped core": (
        unit(
            active="activating",
            sub="auto-restart",
            result="core-dump",
            main_code=3,
            main_status=11,
            restarts=1,
        ),
        "unit-crash-looping",
        "(core-dump, SIGSEGV); systemd restarts it again (1 restart so far)",
    ),
    "exited": (
        unit(
            active="activating",
            sub="auto-restart",
            result="exit-code",
            main_code=1,
            main_status=203,
            restarts=2,
        ),
        "unit-crash-looping",
        "(exit-code, 203); systemd restarts it again (2 restarts so far)",
    ),
    "ended by a real-time signal": (
        unit(active="activating", sub="auto-restart", result="signal", main_code=2, main_status=40),
        "unit-crash-looping",
        "(signal, signal 40)",
    ),
    "never came up": (
        unit(active="activating", sub="auto-restart", result="timeout"),
        "unit-crash-looping",
        "ended by itself (timeout);",
    ),
    "failed": (
        unit(active="failed", sub="failed", result="start-limit-hit", main_code=1, main_status=1),
        "unit-failed",
        "failed (start-limit-hit, 1)",
    ),
    "stopped": (unit(active="inactive", sub="dead"), "unit-not-active", "is inactive (dead)"),
    "starting": (unit(active="activating", sub="start"), "unit-not-active", "activating (start)"),
    "disabled": (unit(unit_file="disabled"), "unit-disabled", "next boot"),
    "a oneshot": (unit(sub="exited"), "unit-not-active", "active (exited)"),
    "stale": (
        replace(GOOD, running_file="/usr/bin/lantern-box (deleted)", is_installed_file=False),
        "stale-process",
        "runs /usr/bin/lantern-box (deleted), which is not the /usr/bin/lantern-box",
    ),
    "no process": (
        replace(GOOD, running_file="", is_installed_file=False),
        "stale-process",
        "runs nothing",
    ),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_is_judged(name: str) -> None:
    seen, kind, words = LOOKS[name]
    for first in (None, GOOD):
        found = verdict(seen, first, EXPECTED)
        assert (found.kind if found else None) == kind
        assert words in str(found)


@pytest.mark.parametrize(
    ("seen", "kind", "words"),
    [
        (unit(restarts=1, invocation_id="def"), "unit-crash-looping", "started it again (1 rest"),
        (unit(invocation_id="def"), "unit-restarted", "somebody started"),
        (replace(GOOD, boot_id="b-2"), "host-rebooted", "booted anew"),
    ],
)
def test_a_start_that_is_not_the_one_that_was_seen_first_is_told_from_it(
    seen: Observation, kind: str, words: str
) -> None:
    assert verdict(seen, None, EXPECTED) is None
    found = verdict(seen, GOOD, EXPECTED)
    assert found is not None
    assert found.kind == kind
    assert words in found.text


def test_restarts_of_the_past_are_not_held_against_it() -> None:
    seen = unit(restarts=7)
    assert verdict(seen, seen, EXPECTED) is None


def test_what_is_wrong_with_the_package_is_said_before_what_follows_from_it() -> None:
    seen = replace(
        unit(active="failed", sub="failed"),
        package=PackageState("iF", "0.0.74", "amd64"),
        is_installed_file=False,
    )
    found = verdict(seen, None, EXPECTED)
    assert found is not None
    assert found.kind == "package-not-installed"


class Clock:
    """Time that goes on only while somebody sleeps."""

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


def host_like(*looks: Observation) -> MemoryHost:
    """A host that is seen like this, look by look; the last one stays."""
    host = MemoryHost(journal=["its", "last words"])
    coming = list(looks)

    def next_look(host: MemoryHost) -> None:
        look = coming.pop(0) if len(coming) > 1 else coming[0]
        package = look.package
        told = f"{package.status} \t{package.version}\t{package.architecture}"
        host.package = told if package != ABSENT else ""
        host.unit = as_unit(look.unit)
        host.boot_id = look.boot_id
        host.file = (int(not look.is_installed_file), look.running_file)
        host.verify = "".join(f"??5??????   {file}\n" for file in look.damaged)

    host.deeds["relight-host see"] = next_look
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
    return Unit(**{names.get(name, name): value for name, value in fields.items()})


async def watched(
    host: MemoryHost,
    on_look: Callable[[Observation], None] = lambda _: None,
    window: timedelta = WINDOW,
) -> Seen:
    return await watch(host, EXPECTED, window, on_look)


async def failure(host: MemoryHost) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await watched(host)
    error = caught.value
    assert error.destination is HOST
    assert error.attempted == "prove lantern-box 0.0.74"
    return error


async def test_a_stable_unit_is_seen_for_the_whole_window(clock: Clock) -> None:
    looks: list[Observation] = []
    seen = await watched(host_like(GOOD), looks.append)
    assert seen == Seen(GOOD, stable_for=WINDOW)
    assert looks == [GOOD] * 2
    assert clock.pauses == [5.0] * 2


async def test_the_last_look_is_at_the_windows_end(clock: Clock) -> None:
    seen = await watched(host_like(GOOD), window=timedelta(seconds=12))
    assert seen.stable_for == timedelta(seconds=12)
    assert clock.pauses == [5.0, 5.0, 2.0]


async def test_a_look_that_was_taken_just_now_is_the_first(clock: Clock) -> None:
    host, looks = host_like(GOOD), list[Observation]()
    given = replace(GOOD, running_file="/given")
    seen = await watch(host, EXPECTED, WINDOW, looks.append, seen=given)
    assert looks == [given, GOOD]
    assert host.count("relight-host see") == 2
    assert (seen.look, seen.stable_for) == (GOOD, WINDOW)


async def test_a_look_that_was_taken_just_now_may_suffice(clock: Clock) -> None:
    host = host_like(GOOD)
    await watch(host, EXPECTED, timedelta(), lambda _: None, seen=GOOD)
    assert host.ran == []


async def test_a_restart_since_the_look_that_was_given_is_seen(clock: Clock) -> None:
    host = host_like(unit(invocation_id="def"))
    with pytest.raises(ServiceFailedError) as caught:
        await watch(host, EXPECTED, WINDOW, lambda _: None, seen=GOOD)
    assert caught.value.kind == "unit-restarted"


async def test_what_is_wrong_in_a_look_that_was_given_is_said_at_once(clock: Clock) -> None:
    host = host_like(GOOD)
    with pytest.raises(ServiceFailedError) as caught:
        await watch(host, EXPECTED, WINDOW, lambda _: None, seen=LOOKS["failed"][0])
    assert (caught.value.kind, caught.value.journal) == ("unit-failed", ("its", "last words"))
    assert host.count("relight-host see") == 0


async def test_a_window_of_no_length_is_one_look(clock: Clock) -> None:
    host, looks = host_like(GOOD), list[Observation]()
    await watched(host, looks.append, timedelta())
    assert (host.ran, looks) == (["relight-host see"], [])  # nobody waits, so nobody is told


async def test_a_look_is_one_question_as_root(clock: Clock) -> None:
    host = host_like(GOOD)
    await watched(host, window=timedelta())
    assert set(host.ran) == host.as_root
    assert host.ran == ["relight-host see"]


async def test_a_crash_in_mid_window_is_a_crash_with_the_units_last_words(clock: Clock) -> None:
    crashed = unit(
        active="activating", sub="auto-restart", result="signal", main_code=2, main_status=6
    )
    error = await failure(host_like(GOOD, GOOD, crashed))
    assert (error.kind, error.fault_class) == ("unit-crash-looping", FaultClass.RELEASE)
    assert error.journal == ("its", "last words")


async def test_a_crash_between_two_looks_is_seen_by_its_count(clock: Clock) -> None:
    error = await failure(host_like(GOOD, unit(restarts=1, invocation_id="def")))
    assert error.kind == "unit-crash-looping"


async def test_a_unit_that_somebody_starts_anew_may_be_proven_again(clock: Clock) -> None:
    error = await failure(host_like(GOOD, unit(invocation_id="def")))
    assert (error.kind, error.fault_class, error.retryable) == (
        "unit-restarted",
        FaultClass.HOST,
        True,
    )


async def test_the_window_begins_once_a_unit_that_starts_is_up(clock: Clock) -> None:
    starting = unit(active="activating", sub="start")
    seen = await watched(host_like(*[starting] * 20, GOOD))
    assert seen.stable_for == WINDOW
    assert clock.now == 30
    assert clock.pauses == [1.0] * 20 + [5.0] * 2


async def test_a_unit_that_starts_for_ever_is_not_up(clock: Clock) -> None:
    error = await failure(host_like(unit(active="activating", sub="start")))
    assert (error.kind, clock.now) == ("unit-not-active", proof.STARTING.total_seconds())


async def test_a_unit_that_reloads_in_mid_window_is_waited_for(clock: Clock) -> None:
    reloading = unit(active="reloading", sub="reload")
    seen = await watched(host_like(GOOD, reloading, GOOD))
    assert seen.look == GOOD


@pytest.mark.parametrize("name", ["masked", "half-configured", "wrong version", "failed"])
async def test_what_time_does_not_mend_is_not_waited_for(clock: Clock, name: str) -> None:
    seen, kind, _ = LOOKS[name]
    error = await failure(host_like(seen))
    assert (error.kind, clock.now) == (kind, 0)
    # A package's state is dpkg's to tell; the unit's journal says nothing of it.
    assert bool(error.journal) == isinstance(error, ServiceFailedError)


async def test_a_package_that_is_wrong_is_said_at_once_though_the_unit_starts(
    clock: Clock,
) -> None:
    seen = replace(
        unit(active="activating", sub="start"), package=PackageState("iF", "0.0.74", "amd64")
    )
    assert isinstance(await failure(host_like(seen)), PackageError)
    assert clock.now == 0


@pytest.mark.parametrize("file", ["", "/usr/lib/systemd/systemd"])
async def test_a_process_that_has_just_been_forked_is_looked_at_once_more(
    clock: Clock, file: str
) -> None:
    forked = replace(GOOD, running_file=file, is_installed_file=False)
    assert (await watched(host_like(forked, GOOD))).stable_for == WINDOW


async def test_a_stale_process_is_an_error_at_the_second_look(clock: Clock) -> None:
    stale = LOOKS["stale"][0]
    error = await failure(host_like(stale))
    assert isinstance(error, StaleProcessError)
    assert clock.now == 1
    assert error.journal == ("its", "last words")


async def test_a_process_that_ends_between_two_questions_is_a_crash(clock: Clock) -> None:
    gone = replace(GOOD, running_file="", is_installed_file=False)
    crashed = LOOKS["exited"][0]
    assert (await failure(host_like(gone, crashed))).kind == "unit-crash-looping"


async def test_a_file_that_is_not_as_the_package_brought_it_is_found_at_any_look(
    clock: Clock,
) -> None:
    error = await failure(host_like(GOOD, replace(GOOD, damaged=("/usr/bin/lantern-box",))))
    assert (error.kind, error.fault_class) == ("package-damaged", FaultClass.HOST)
    assert error.text.endswith(": /usr/bin/lantern-box")


async def test_an_edited_configuration_file_is_no_damage(clock: Clock) -> None:
    host = MemoryHost(verify="??5?????? c /etc/lantern-box/config.json\n")
    assert (await watched(host)).look == GOOD


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("masked", "unit-masked"),
        ("masked while it runs", "unit-masked"),
        ("no unit", "unit-not-found"),
        ("failed", "unit-failed"),
        ("exited", "unit-crash-looping"),
        # What is neither failed nor up by now did not start, all the same.
        ("stopped", "unit-failed"),
        ("starting", "unit-failed"),
        ("all as it should be", "unit-failed"),
    ],
)
async def test_a_service_that_did_not_start_is_judged_by_how_it_stands(
    name: str, kind: str
) -> None:
    host = MemoryHost(journal=["its", "last words"])
    error = await service_failure(host, LOOKS[name][0], EXPECTED, "it did not start")
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
async def test_of_a_service_that_seems_well_by_now_the_attempts_own_words_are_said(
    words: str, text: str
) -> None:
    assert (await service_failure(MemoryHost(), GOOD, EXPECTED, words)).text == text
