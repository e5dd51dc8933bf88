"""The plan of a rollout, for people."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from relight.domain.names import (
    CheckName,
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.rollout.plan import (
    FrozenRoute,
    LeftOut,
    PlannedRollout,
    Stratum,
)
from relight.domain.rollout.planner import strata_of
from relight.domain.route import Route
from starter.cli.dry_runs import DryRun
from starter.cli.output import print_line, print_table
from starter.cli.rollout_text import counted
from starter.cli.times import moment

_MAX_ROUTES = 6
_MAX_STRATA = 12


def print_plan(
    plan: PlannedRollout,
    tag: ReleaseTag,
    scope: ScopeName,
    routes: Sequence[Route],
    checks: Sequence[CheckName] = (),
    dry_runs: Sequence[DryRun] = (),
) -> None:
    """Print the waves, the strata of the canary, and the frozen and the left-out routes.

    Args:
        plan: the plan.
        tag: its release.
        scope: its scope.
        routes: the scope's routes.
        checks: the checks after each wave.
        dry_runs: what hosts said of the release when a rollout of it last began.
    """
    planned = sum(map(len, plan.waves))
    print_line(f"{tag} over {scope}: {counted(planned, 'route')} in {counted_waves(plan)}")
    if plan.waves:
        _print_waves(plan, routes)
        print_line(f"the canary covers {_first(map(_stratum, plan.strata), _MAX_STRATA)}")
    if plan.unmet_strata:
        unmet = _first(map(_stratum, plan.unmet_strata), _MAX_STRATA)
        print_line(f"it does not cover {unmet}: --canary strata would")
    if checks:
        print_line(f"checks that have to pass after each wave: {', '.join(checks)}")
    _print_left_out(plan.left_out)
    _print_frozen(plan.frozen)
    for each in dry_runs:
        where = f"{each.machine_key} in {each.region}"
        print_line(f"dry run of {moment(each.at)} UTC on {where}: {each.plan.words}")
    print_line("nothing was started")


def counted_waves(plan: PlannedRollout) -> str:
    """Return the number of waves, and of routes that are left out: `2 waves, 3 left out`."""
    waves = counted(len(plan.waves), "wave")
    return f"{waves}, {len(plan.left_out)} left out" if plan.left_out else waves


def _print_waves(plan: PlannedRollout, routes: Sequence[Route]) -> None:
    by_id = {route.route_id: route for route in routes}
    strata = len(plan.strata) + len(plan.unmet_strata)
    print_table(
        ("wave", "routes", "strata", "first routes"),
        (
            (
                number,
                len(wave),
                f"{len(strata_of(by_id[route_id] for route_id in wave))} of {strata}",
                _first(wave, _MAX_ROUTES),
            )
            for number, wave in enumerate(plan.waves, start=1)
        ),
    )


# Grouped: with a whole region left out for one reason, a line per route would hide all others.
def _print_left_out(left_out: Iterable[LeftOut]) -> None:
    groups: dict[tuple[str, str | None, datetime | None, str | None], list[RouteId]] = {}
    for each in left_out:
        key = (each.reason, each.owner, each.expires_at, each.pinned_to)
        groups.setdefault(key, []).append(each.route_id)
    if groups:
        print_table(
            ("routes", "left out", "reason", "owner", "pinned to", "until (UTC)"),
            (
                (
                    len(route_ids),
                    _first(route_ids, _MAX_ROUTES),
                    reason,
                    owner,
                    pinned_to,
                    moment(expires_at) if expires_at else None,
                )
                for (reason, owner, expires_at, pinned_to), route_ids in groups.items()
            ),
        )


def _print_frozen(frozen: Iterable[FrozenRoute]) -> None:
    groups: dict[tuple[str, str, datetime], list[RouteId]] = {}
    for each in frozen:
        groups.setdefault((each.reason, each.owner, each.thaws_at), []).append(each.route_id)
    if groups:
        print_table(
            ("routes", "frozen, so their waves wait", "reason", "owner", "until (UTC)"),
            (
                (
                    len(route_ids),
                    _first(route_ids, _MAX_ROUTES),
                    reason,
                    owner,
                    moment(thaws_at),
                )
                for (reason, owner, thaws_at), route_ids in groups.items()
            ),
        )


def _stratum(stratum: Stratum) -> str:
    return f"{stratum.provider}/{stratum.architecture}/{stratum.track}"


def _first(names: Iterable[str], limit: int) -> str:
    """Return the first names, and how many more there are."""
    listed = list(names)
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")
