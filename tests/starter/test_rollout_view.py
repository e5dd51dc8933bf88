"""A running rollout on a terminal of 80x24, and what a control of it prints."""

import io
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from relight.domain.base import Origin
from relight.domain.fault.table import fault
from relight.domain.rollout.rollout import (
    ControlInput,
    RolloutPace,
    RolloutPhase,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
    SetConcurrency,
    SkipRoute,
)
from relight.store.rollout_status import FollowedRollout
from starter.cli.rollout_control_text import control_text
from starter.cli.rollout_eta import RoutesLeft, ends_at, eta_text
from starter.cli.rollout_steps import step_text
from starter.cli.rollout_view import RolloutView, RouteStep
from starter.cli.swap_durations import SwapDurations
from tests.domain.fleets import route

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
SWAPS = SwapDurations([timedelta(seconds=25)], "recorded")
PACE = RolloutPace(max_concurrent=10, soak=timedelta(0))


def outcome(number, progress, wave=2, kind=None, width=0):
    return RouteOutcome(
        route_id=f"route-{number}".ljust(width, "x"),
        wave=wave,
        progress=progress,
        previous_release_tag="v0.0.73",
        fault=fault(kind, "it crashes", "restart") if kind else None,
    )


def followed(waves, listed, **changes):
    counts = sum((Counter(each) for each in waves.values()), Counter())
    status = RolloutStatus(
        release_tag="v0.0.74",
        scope="fleet",
        phase=RolloutPhase.RUNNING,
        wave=2,
        waves=len(waves),
        routes=tuple(listed),
        detail=f"wave 2 of {len(waves)}",
        since=NOW - timedelta(minutes=2),
        counts=dict(counts),
    ).model_copy(update=changes)
    return FollowedRollout(status, waves, NOW - timedelta(minutes=4, seconds=30))


def shown(view, height=24, width=80):
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True
    )
    console.print(view)
    lines = console.export_text().splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


FORWARD = {RouteProgress.WAITING, RouteProgress.SWAPPING}
BACK = {RouteProgress.TO_ROLL_BACK, RouteProgress.ROLLING_BACK}


def left_of(rollout):
    """Return the routes that a rollout has still to change: all in one region."""
    back = rollout.status.phase is RolloutPhase.ROLLING_BACK
    sizes = [
        sum(count for progress, count in counts.items() if progress in (BACK if back else FORWARD))
        for counts in rollout.waves.values()
    ]
    waves = [[f"w{n}-{m}" for m in range(size)] for n, size in enumerate(sizes) if size]
    return RoutesLeft(waves, [route(each) for wave in waves for each in wave], back=back)


def eta(rollout, pace=PACE, durations=SWAPS):
    end = pace and ends_at(left_of(rollout), pace, durations.median, NOW)
    return eta_text(rollout, pace, durations, end, NOW)


def a_view(rollout, pace=PACE, durations=SWAPS, **fields):
    return RolloutView(rollout, eta(rollout, pace, durations), NOW, **fields)


def of_27_routes():
    waves = {
        1: {RouteProgress.CONVERGED: 1},
        2: {
            RouteProgress.FAILED: 2,
            RouteProgress.SWAPPING: 3,
            RouteProgress.CONVERGED: 4,
            RouteProgress.WAITING: 7,
        },
        3: {RouteProgress.WAITING: 10},
    }
    listed = [outcome(1, RouteProgress.CONVERGED, wave=1)]
    listed += [outcome(number, RouteProgress.CONVERGED) for number in range(2, 6)]
    listed += [outcome(6, RouteProgress.FAILED, kind="unit-crash-looping")]
    listed += [outcome(number, RouteProgress.SWAPPING) for number in range(7, 10)]
    listed += [outcome(10, RouteProgress.FAILED, kind="probe-failed")]
    listed += [outcome(number, RouteProgress.WAITING) for number in range(11, 18)]
    listed += [outcome(number, RouteProgress.WAITING, wave=3) for number in range(18, 28)]
    return followed(waves, listed)


def test_27_routes_with_failed_and_active_ones_first_fit_on_80x24():
    steps = {
        "route-7": RouteStep("installing", NOW - timedelta(seconds=12)),
        "route-8": RouteStep("proving, active (running)", NOW - timedelta(seconds=41)),
    }
    assert shown(a_view(of_27_routes(), steps=steps)) == [
        "v0.0.74 over fleet: running, wave 2 of 3",
        "elapsed 4 min 30 s; about 50 s left (10 at once, a swap takes 25 s)",
        "2 failed, 3 swapping, 5 converged, 17 waiting",
        "wave 1 ████████████████████████████████████████ 1 of 1",
        "wave 2 ██████████xxxxx▒▒▒▒▒▒▒·················· 4 of 16, 2 failed",
        "wave 3 ········································ 0 of 10",
        "route-6   failed: unit-crash-looping",
        "route-10  failed: probe-failed",
        "route-7   swapping: installing, 12 s",
        "route-8   swapping: proving, active (running), 41 s",
        "route-9   swapping",
        "route-1   converged",
        "route-2   converged",
        "route-3   converged",
        "route-4   converged",
        "route-5   converged",
        "route-11  waiting",
        "route-12  waiting",
        "route-13  waiting",
        "route-14  waiting",
        "route-15  waiting",
        "route-16  waiting",
        "and 11 more: 11 waiting",
    ]


def of_10000_routes(failed, **changes):
    waves = {
        1: {RouteProgress.CONVERGED: 100},
        2: {
            RouteProgress.FAILED: failed,
            RouteProgress.SWAPPING: 50,
            RouteProgress.WAITING: 900 - failed,
        },
        **{number: {RouteProgress.WAITING: 895} for number in range(3, 13)},
    }
    listed = [
        outcome(n, RouteProgress.FAILED, kind="probe-failed", width=48) for n in range(failed)
    ]
    listed += [outcome(n, RouteProgress.SWAPPING, width=48) for n in range(500, 550)]
    return followed(waves, listed, **changes)


def test_10000_routes_with_long_names_fit_and_the_rest_is_counted():
    lines = shown(a_view(of_10000_routes(3)))
    assert lines[:11] == [
        "v0.0.74 over fleet: running, wave 2 of 12",
        "elapsed 4 min 30 s; about 6 h 55 min left (10 at once, a swap takes 25 s)",
        "3 failed, 50 swapping, 100 converged, 9,847 waiting",
        "wave 1  ████████████████████████████████████████ 100 of 100",
        "wave 2  x▒▒····································· 0 of 950, 3 failed",
        "wave 3  ········································ 0 of 895",
        "wave 4  ········································ 0 of 895",
        "and 8 more waves: 7,160 waiting",
        *(f"{f'route-{n}'.ljust(48, 'x')}  failed: probe-failed" for n in range(3)),
    ]
    assert [line.split()[1] for line in lines[11:-1]] == ["swapping"] * 11
    assert lines[-1] == "and 9,986 more: 39 swapping, 100 converged, 9,847 waiting"


def test_many_failed_routes_leave_room_for_active_ones_and_a_long_reason_is_whole():
    reason = "region lab/fsn1: 50 are out, 50 may be; " * 4
    holding = {"phase": RolloutPhase.HOLDING, "detail": reason, "to_do": "relight rollout abort"}
    lines = shown(a_view(of_10000_routes(300, **holding)))
    assert reason.strip() in " ".join(lines)
    assert "(for 2 min)" in " ".join(lines)
    assert "to do: relight rollout abort" in lines
    states = [line.split()[1] for line in lines if line.startswith("route-")]
    assert set(states) == {"failed:", "swapping"}
    assert lines[-1].startswith("and 9,9")


@pytest.mark.parametrize("height", [10, 12, 50])
def test_it_follows_the_height_of_the_terminal(height):
    lines = shown(a_view(of_27_routes()), height=height, width=60)
    assert lines[0] == "v0.0.74 over fleet: running, wave 2 of 3"
    assert any("failed: unit-crash-looping" in line for line in lines)


def test_a_terminal_with_ascii_only_has_bars_too():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    console = Console(width=80, height=24, file=file, force_terminal=True, color_system=None)
    console.print(a_view(of_27_routes()))
    assert b"wave 2 ##########xxxxx=======" in file.buffer.getvalue()


@pytest.mark.parametrize(
    ("activity", "beat", "text"),
    [
        ("swap_route", "", "connecting"),
        ("swap_route", "running", "installing"),
        ("swap_route", "active (running)", "proving, active (running)"),
        ("prove_release", "", "proving"),
        ("record_fault", "", "record fault"),
        (
            "swap_route",
            "running: /bin/sh /var/lib/dpkg/info/lantern-box.postinst configure 1",
            "installing, runs /bin/sh /var/lib/dpkg/info/lantern-box.postinst configure 1",
        ),
    ],
)
def test_a_step_is_in_words(activity, beat, text):
    assert step_text(activity, beat) == text


FINISHES = "3 routes in progress will be finished"
RESUME = "`relight rollout resume v0.0.74` continues it"
THEN_BACK = "then its changes are rolled back, unless it keeps failed routes"
FOLLOW = "`relight rollout watch v0.0.74` follows it"
ORIGIN = Origin(requested_by="ann@ops", reason="odd graphs")


@pytest.mark.parametrize(
    ("action", "input", "changes", "lines"),
    [
        (
            "pause",
            ControlInput(origin=ORIGIN),
            {"phase": RolloutPhase.PAUSED},
            (
                "v0.0.74 over fleet: paused by ann@ops: odd graphs",
                f"{FINISHES}, no further one starts; {RESUME}",
            ),
        ),
        (
            "resume",
            ControlInput(origin=ORIGIN),
            {},
            (
                "v0.0.74 over fleet: resumed by ann@ops: odd graphs",
                f"3 routes in progress, 17 waiting; {FOLLOW}",
            ),
        ),
        (
            "approve",
            ControlInput(origin=ORIGIN),
            {"phase": RolloutPhase.HOLDING, "detail": "wave 1 is proven", "to_do": "approve"},
            (
                "v0.0.74 over fleet: approved by ann@ops: odd graphs",
                "it waits: wave 1 is proven; to do: approve",
            ),
        ),
        (
            "abort",
            ControlInput(origin=ORIGIN),
            {"phase": RolloutPhase.ABORTED},
            (
                "v0.0.74 over fleet: aborted by ann@ops: odd graphs",
                f"{FINISHES}; {THEN_BACK}; {FOLLOW}",
            ),
        ),
        (
            "skip",
            SkipRoute(route_id="eu-1", origin=ORIGIN),
            {},
            (
                "v0.0.74 over fleet: eu-1 skipped by ann@ops: odd graphs",
                f"3 routes in progress, 17 waiting; {FOLLOW}",
            ),
        ),
        (
            "set-concurrency",
            SetConcurrency(max_concurrent=1, origin=ORIGIN),
            {},
            (
                "v0.0.74 over fleet: concurrency set to 1 by ann@ops: odd graphs",
                f"3 routes in progress, 17 waiting; {FOLLOW}",
            ),
        ),
    ],
)
def test_a_control_prints_what_was_done_and_what_follows(action, input, changes, lines):
    status = of_27_routes().status.model_copy(update=changes)
    assert control_text(action, input, status, "v0.0.74") == lines
