"""Doubt: evidence that our records are older than the fleet, as after a restore of an old backup.

A key is on record before its machine is created, and a target before its release is installed. So a
machine with a higher number than any on record, or a host that runs a newer release than its record
has ever named, says something about the record and nothing about the host. It is not drift. What is
in doubt is not changed, and if much is, nothing is changed or destroyed at all.
"""

from collections.abc import Iterable, Mapping, Sequence

from relight.domain.base import Message
from relight.domain.disruption import NOT_IN_SERVICE, BudgetSize, max_out
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.names import RouteId
from relight.domain.route import Route
from relight.domain.route_history import ObservedFault, RouteHistory
from relight.domain.sweep.sweep import SweepAction, SweepStep

OUTDATED = "records-outdated"
"""The fault of the control plane that this evidence speaks for."""

DIFFERS = "package-version-differs"
"""The fault of a host that runs another version than the record says."""

_NAMED = 3


class Doubt(Message):
    """One piece of evidence.

    Attributes:
        about: `route R` or `machine M`.
        reason: one sentence for a person.
        route_id: the route that is in doubt, None if the record has none for it.
        of_provider: a provider has what the record does not know. One such is enough: no host can
            make it up.
    """

    about: str
    reason: str
    route_id: RouteId | None = None
    of_provider: bool = False


def doubts_about(
    routes: Sequence[Route],
    histories: Mapping[RouteId, RouteHistory],
    swept: Iterable[SweepAction],
    limit: BudgetSize,
) -> tuple[Doubt, ...]:
    """Return the evidence that our records are old, sorted by what it is about.

    A host with another release that is not newer was changed by hand. Where more hosts than the
    limit have one, the records are more likely to be old than the hosts.

    Args:
        routes: the whole fleet.
        histories: the recent histories of routes, where there are any.
        swept: the steps of the sweep, those that it leaves included.
        limit: how many routes in service may run another release without such a doubt.
    """
    found = [_of_machine(step, routes) for step in swept if step.step is SweepStep.DOUBT]
    newer = [each for each in routes if each.newer_version is not None and each.machine is not None]
    found += [_of_route(each, f"its host runs {each.newer_version}, newer than") for each in newer]
    other = [
        route
        for route in routes
        if route.newer_version is None and _runs_another(route, histories.get(route.route_id))
    ]
    if len(other) + len(newer) > max_out(limit, _in_service(routes)):
        found += [_of_route(each, "its host runs another release than") for each in other]
    return tuple(sorted(found, key=lambda doubt: (doubt.about, doubt.reason)))


def is_whole(doubts: Sequence[Doubt], routes: Sequence[Route], limit: BudgetSize) -> bool:
    """Return whether the whole record is in doubt, and not only that of single routes."""
    in_doubt = {each.route_id for each in doubts}
    return any(each.of_provider for each in doubts) or len(in_doubt) > max_out(
        limit, _in_service(routes)
    )


def outdated(doubts: Sequence[Doubt]) -> Fault | None:
    """Return the one incident that all doubts are; None without any."""
    if not doubts:
        return None
    named = "; ".join(f"{each.about}: {each.reason}" for each in doubts[:_NAMED])
    more = f"; and {len(doubts) - _NAMED} more" if len(doubts) > _NAMED else ""
    return fault(OUTDATED, f"our records may be old: {named}{more}")


def _of_machine(step: SweepAction, routes: Sequence[Route]) -> Doubt:
    route_id = step.key.rpartition("-g")[0]
    known = any(each.route_id == route_id for each in routes)
    return Doubt(
        about=f"machine {step.key}",
        reason=step.reason,
        route_id=route_id if known else None,
        of_provider=True,
    )


def _of_route(route: Route, text: str) -> Doubt:
    return Doubt(
        about=f"route {route.route_id}",
        reason=f"{text} {route.current_release_tag}, which our records have",
        route_id=route.route_id,
    )


def _runs_another(route: Route, history: RouteHistory | None) -> bool:
    """Return whether the last fault of a route is that it runs another release, undamaged."""
    if history is None or route.machine is None:
        return False
    last = max(history.faults, key=_by_time, default=None)
    return (
        last is not None
        and (last.kind, last.drifted) == (DIFFERS, True)
        and last.machine_key == route.machine.key
        and (route.proven_at is None or last.at > route.proven_at)
    )


def _by_time(fault: ObservedFault) -> tuple[object, ...]:
    return fault.at, fault.kind


def _in_service(routes: Sequence[Route]) -> int:
    return sum(route.status not in NOT_IN_SERVICE for route in routes)
