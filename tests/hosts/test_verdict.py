"""Verdicts: what is wrong with one observation of a host."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relight.domain.service import OnChange, Service
from relight.hosts.observation import Observation
from relight.hosts.packages import ABSENT, PackageState, Sibling
from relight.hosts.proof import (
    verdict,
)
from relight.hosts.units import parse_units
from tests.support.memory_shell import (
    running,
)

SERVICE = Service(
    "lantern-box", "lantern-box.service", "/usr/bin/lantern-box", timedelta(seconds=10)
)
VERSION = "0.0.74"
INSTALLED = PackageState("ii", "0.0.74", "amd64")
(UP,) = parse_units(running().shown())
GOOD = Observation(
    INSTALLED, (UP,), "/usr/bin/lantern-box", is_installed_file=True, damaged=(), boot_id="b-1"
)
WINDOW = SERVICE.stability_window
NO_WINDOW = replace(SERVICE, stability_window=timedelta())


def unit(**changes: object) -> Observation:
    return units(changes)


def units(*changes: dict[str, object]) -> Observation:
    """An observation of several units; each is a running service but for its changes."""
    return replace(GOOD, units=tuple(replace(UP, **each) for each in changes))  # type: ignore[arg-type]


RESTING = {"name": "b.service", "active": "inactive", "sub": "dead", "main_pid": 0}
WAITING = {**RESTING, "triggered_by": ("b.socket",)}
SOCKET = {"name": "b.socket", "sub": "listening", "main_pid": 0, "type": ""}


def package(status: str, version: str = "0.0.74") -> Observation:
    return replace(GOOD, package=PackageState(status, version, "amd64"))


def sibling(state: PackageState, version: str) -> Observation:
    return replace(GOOD, siblings=(Sibling("tools", version, state),))


OBSERVATIONS: dict[str, tuple[Observation, str | None, str]] = {
    "healthy": (GOOD, None, ""),
    "held": (package("hi"), None, ""),
    "absent": (replace(GOOD, package=ABSENT), "package-version-differs", "is at no version"),
    "wrong version": (package("ii", "0.0.73"), "package-version-differs", "at 0.0.73, not 0.0.74"),
    "a Debian revision": (package("ii", "0.0.74-1"), "package-version-differs", "0.0.74-1"),
    "half-configured": (package("iF"), "package-not-installed", "not fully installed: iF"),
    "half-installed": (package("iHR"), "package-not-installed", "iHR"),
    "removed": (package("rc"), "package-not-installed", "rc"),
    "held and half-configured": (package("hF"), "package-not-installed", "hF"),
    "with a sibling": (sibling(INSTALLED, "0.0.74"), None, ""),
    "a sibling of an older change": (sibling(INSTALLED, ""), None, ""),
    "a held sibling": (sibling(replace(INSTALLED, status="hi"), "0.0.74"), None, ""),
    "a missing sibling": (sibling(ABSENT, ""), "package-not-installed", "tools, which belongs"),
    "a removed sibling": (
        sibling(replace(INSTALLED, status="rc"), "0.0.74"),
        "package-not-installed",
        "tools, which belongs to lantern-box, is not fully installed: rc",
    ),
    "a sibling at another version": (
        sibling(INSTALLED, "0.0.73"),
        "package-version-differs",
        "is at 0.0.74, and the last change left it at 0.0.73",
    ),
    "damaged": (
        replace(GOOD, damaged=("/usr/bin/lantern-box", "/usr/lib/x")),
        "package-damaged",
        "files differ from the package's: /usr/bin/lantern-box, /usr/lib/x",
    ),
    "masked": (unit(load="masked", active="inactive", sub="dead"), "unit-masked", "is masked"),
    "masked while it runs": (unit(unit_file="masked-runtime"), "unit-masked", "is masked"),
    "no unit": (unit(load="not-found", active="inactive", sub="dead"), "unit-not-found", "no unit"),
    "crashed": (
        unit(active="activating", sub="auto-restart", result="signal", main_code=2, main_status=6),
        "unit-crash-looping",
        "ended by itself (signal, SIGABRT); systemd is restarting it (0 restarts so far)",
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
        "(core-dump, SIGSEGV); systemd is restarting it (1 restart so far)",
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
        "(exit-code, 203); systemd is restarting it (2 restarts so far)",
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
    "a condition that is not met": (
        replace(
            units({}, RESTING),
            unmet=(("b.service", "ConditionPathExists=/a"), ("c.service", "ConditionHost=x")),
        ),
        "unit-condition-unmet",
        "b.service was not started: a condition of its unit is not met on the host: Condition",
    ),
    "conditions that are not met": (
        replace(units({}, RESTING), unmet=(("b.service", "A=1"), ("b.service", "B=|!2"))),
        "unit-condition-unmet",
        "conditions of its unit are not met on the host: A=1, B=|!2",
    ),
    "a unit that failed after a condition": (
        replace(unit(active="failed", sub="failed"), unmet=((UP.name, "A=1"),)),
        "unit-failed",
        "failed",
    ),
    "starting": (unit(active="activating", sub="start"), "unit-not-active", "activating (start)"),
    "disabled": (unit(unit_file="disabled"), "unit-disabled", "next boot"),
    "an ended process": (unit(sub="exited"), "unit-not-active", "active (exited)"),
    "an exited service": (unit(sub="exited", type="forking"), "unit-not-active", "active (exited)"),
    "a oneshot": (unit(sub="exited", type="oneshot"), None, ""),
    "no instance": (units(), "unit-not-found", "there is no unit lantern-box.service"),
    "two units": (units({}, {"name": "b.service"}), None, ""),
    "a second unit that rests": (units({}, RESTING), "unit-not-active", "b.service is inactive"),
    "a second unit that failed": (
        units({}, {"name": "b@2.service", "active": "failed", "sub": "failed"}),
        "unit-failed",
        "b@2.service failed",
    ),
    "a unit that waits for a connection": (units(SOCKET, WAITING), None, ""),
    "a disabled unit of an enabled socket": (
        units(SOCKET, {**WAITING, "active": "active", "sub": "running", "unit_file": "disabled"}),
        None,
        "",
    ),
    "a unit whose socket is closed": (
        units({**SOCKET, "active": "inactive", "sub": "dead"}, WAITING),
        "unit-not-active",
        "b.socket is inactive",
    ),
    "a unit of another socket": (
        units(SOCKET, {**WAITING, "triggered_by": ("c.socket",)}),
        "unit-not-active",
        "b.service is inactive",
    ),
    "stale": (
        replace(GOOD, running_file="/usr/bin/lantern-box (deleted)", is_installed_file=False),
        "stale-process",
        "runs /usr/bin/lantern-box (deleted), not the installed /usr/bin/lantern-box",
    ),
    "stale processes": (
        replace(GOOD, is_installed_file=False, stale=("a.service has process 7, which", "more")),
        "stale-process",
        "a.service has process 7, which; 1 more",
    ),
    "no process": (
        replace(GOOD, running_file="", is_installed_file=False),
        "stale-process",
        "runs nothing",
    ),
}


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_an_observation_is_judged(name: str) -> None:
    observed, kind, text = OBSERVATIONS[name]
    for first in (None, GOOD):
        found = verdict(observed, first, SERVICE, VERSION)
        assert (found.kind if found else None) == kind
        assert text in str(found)


@pytest.mark.parametrize(
    ("observed", "kind", "text"),
    [
        (
            unit(restarts=1, invocation_id="def"),
            "unit-crash-looping",
            "systemd restarted it (1 rest",
        ),
        (unit(invocation_id="def"), "unit-restarted", "was restarted during the proof"),
        (replace(GOOD, boot_id="b-2"), "host-rebooted", "rebooted during the proof"),
    ],
)
def test_another_start_than_the_first_observed_is_a_fault(
    observed: Observation, kind: str, text: str
) -> None:
    assert verdict(observed, None, SERVICE, VERSION) is None
    found = verdict(observed, GOOD, SERVICE, VERSION)
    assert found is not None
    assert found.kind == kind
    assert text in found.text


TRY_RESTART = replace(SERVICE, on_change=OnChange.TRY_RESTART)


@pytest.mark.parametrize(
    ("observed", "kind"),
    [
        (units({}, RESTING), None),
        (units({**RESTING, "name": "a.service"}, RESTING), "unit-not-active"),
        (units({}, {**RESTING, "unit_file": "masked"}), "unit-masked"),
        (units({}, {"name": "b.service", "active": "failed", "sub": "failed"}), "unit-failed"),
        (unit(unit_file="disabled"), None),
    ],
)
def test_with_try_restart_the_host_decides_which_units_run(
    observed: Observation, kind: str | None
) -> None:
    found = verdict(observed, None, TRY_RESTART, VERSION)
    assert (found.kind if found else None) == kind


def test_each_unit_is_compared_with_its_own_first_observation() -> None:
    first = units({"restarts": 1}, {"name": "b.service", "invocation_id": "b"})
    assert verdict(first, first, SERVICE, VERSION) is None
    again = units({"restarts": 1}, {"name": "b.service", "invocation_id": "c"})
    found = verdict(again, first, SERVICE, VERSION)
    assert found is not None
    assert (found.kind, "b.service was restarted" in found.text) == ("unit-restarted", True)


def test_earlier_restarts_are_ignored() -> None:
    observed = unit(restarts=7)
    assert verdict(observed, observed, SERVICE, VERSION) is None


def test_a_fault_of_the_package_comes_before_its_consequences() -> None:
    observed = replace(
        unit(active="failed", sub="failed"),
        package=PackageState("iF", "0.0.74", "amd64"),
        is_installed_file=False,
    )
    found = verdict(observed, None, SERVICE, VERSION)
    assert found is not None
    assert found.kind == "package-not-installed"
