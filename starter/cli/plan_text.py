"""A plan, as an operator reads it before anything is started."""

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
from starter.cli.output import print_line, print_table
from starter.cli.times import moment

_NAMED_ROUTES = 6
_NAMED_STRATA = 12


def print_plan(
    plan: PlannedRollout,
    tag: ReleaseTag,
    scope: ScopeName,
    routes: Sequence[Route],
    checks: Sequence[CheckName] = (),
) -> None:
    """Print waves, what the canary meets, and the routes that wait or are left out.

    Args:
        plan: the plan.
        tag: its release.
        scope: what it is over.
        routes: the scope's routes.
        checks: what is asked after each wave.
    """
    planned = sum(map(len, plan.waves))
    print_line(f"{tag} over {scope}: {counted(planned, 'route')} in {counted_waves(plan)}")
    if plan.waves:
        _print_waves(plan, routes)
        print_line(f"the canary meets {_named(map(_stratum, plan.strata), _NAMED_STRATA)}")
    if plan.unmet_strata:
        unmet = _named(map(_stratum, plan.unmet_strata), _NAMED_STRATA)
        print_line(f"it does not meet {unmet}: --canary strata would")
    if checks:
        print_line(f"after each wave has to pass: {', '.join(checks)}")
    _print_left_out(plan.left_out)
    _print_frozen(plan.frozen)
    print_line("nothing was started")


def counted(count: int, what: str) -> str:
    """Return a count with its noun: `1 route`, `3 routes`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def counted_waves(plan: PlannedRollout) -> str:
    """Return how many waves a plan has, and how many routes stay outside of them."""
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
                _named(wave, _NAMED_ROUTES),
            )
            for number, wave in enumerate(plan.waves, start=1)
        ),
    )


# Whole regions may be kept out for one reason: a line each would hide all others.
def _print_left_out(left_out: Iterable[LeftOut]) -> None:
    kept: dict[tuple[str, str | None, datetime | None, str | None], list[RouteId]] = {}
    for each in left_out:
        why = (each.reason, each.owner, each.expires_at, each.pinned_to)
        kept.setdefault(why, []).append(each.route_id)
    if kept:
        print_table(
            ("routes", "left out", "why", "owner", "pinned to", "until (UTC)"),
            (
                (
                    len(route_ids),
                    _named(route_ids, _NAMED_ROUTES),
                    reason,
                    owner,
                    pinned_to,
                    moment(expires_at) if expires_at else None,
                )
                for (reason, owner, expires_at, pinned_to), route_ids in kept.items()
            ),
        )


def _print_frozen(frozen: Iterable[FrozenRoute]) -> None:
    held: dict[tuple[str, str, datetime], list[RouteId]] = {}
    for each in frozen:
        held.setdefault((each.reason, each.owner, each.thaws_at), []).append(each.route_id)
    if held:
        print_table(
            ("routes", "frozen, so their waves wait", "why", "owner", "until (UTC)"),
            (
                (
                    len(route_ids),
                    _named(route_ids, _NAMED_ROUTES),
                    reason,
                    owner,
                    moment(thaws_at),
                )
                for (reason, owner, thaws_at), route_ids in held.items()
            ),
        )


def _stratum(stratum: Stratum) -> str:
    return f"{stratum.provider}/{stratum.architecture}/{stratum.track}"


def _named(names: Iterable[str], most: int) -> str:
    """Return the first names, and how many more there are."""
    known = list(names)
    more = len(known) - most
    return ", ".join(known[:most]) + (f" and {more} more" if more > 0 else "")
