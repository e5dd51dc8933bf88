"""Recovery: which release a route goes back to, and which one is known to work there.

The last release that a route was proven at is the anchor. A swap that fails, is repeated or is
refused does not move it.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from relight.domain.fault.error import DomainError
from relight.domain.names import ReleaseTag
from relight.domain.route import Route, RouteStatus
from relight.domain.track import DesiredRelease


class NoPreviousReleaseError(DomainError):
    """There is no release to roll a route back to."""

    kind = "no-release-before"


class DowngradeRefusedError(DomainError):
    """A healthy, proven route is not taken to an older release without a person's word."""

    kind = "downgrade-refused"


class ReleaseEventKind(StrEnum):
    """What happened with a release on a route.

    `tried`: a swap to it began. `proven`: it was proven. `failed`: by a fault of the release.
    """

    TRIED = "tried"
    PROVEN = "proven"
    FAILED = "failed"


class ReleaseEvent(NamedTuple):
    """Something that happened with a release on a machine of a route."""

    kind: ReleaseEventKind
    tag: ReleaseTag
    machine_key: str | None


@dataclass(frozen=True)
class ReleaseHistory:
    """The releases of a route.

    Attributes:
        proven: each release that it was proven at, in the order of the proofs.
        failed: releases that failed by their own fault since they were last proven here.
        withdrawn: those of them that failed while the route was proven there, without a change.
        tried: releases that a swap was begun to, whatever came of it.
        left: the release that the route came back from to the last proven one, which had been
            proven before. None if the last proof was no return.
    """

    proven: tuple[ReleaseTag, ...] = ()
    failed: frozenset[ReleaseTag] = frozenset()
    withdrawn: frozenset[ReleaseTag] = frozenset()
    left: ReleaseTag | None = None
    tried: frozenset[ReleaseTag] = frozenset()


def release_history(events: Iterable[ReleaseEvent]) -> ReleaseHistory:
    """Return the history of a route from its events, oldest first."""
    proven: list[ReleaseTag] = []
    order: list[ReleaseTag] = []
    failed: set[ReleaseTag] = set()
    withdrawn: set[ReleaseTag] = set()
    standing: ReleaseEvent | None = None
    for event in events:
        if event.kind is ReleaseEventKind.FAILED:
            failed.add(event.tag)
            if standing and standing.tag == event.tag and _same_machine(standing, event):
                withdrawn.add(event.tag)
            continue
        if order[-1:] != [event.tag]:
            order.append(event.tag)
        standing = None
        if event.kind is ReleaseEventKind.PROVEN:
            standing = event
            proven.append(event.tag)
            failed.discard(event.tag)
            withdrawn.discard(event.tag)
    return ReleaseHistory(
        proven=tuple(proven),
        failed=frozenset(failed),
        withdrawn=frozenset(withdrawn),
        left=_left(order, proven),
        tried=frozenset(order),
    )


def is_proven(route: Route) -> bool:
    """Return whether a route serves at its target. The installed release is unknown otherwise."""
    targets = (None, route.current_release_tag)
    return route.status is RouteStatus.SERVING and route.target_release_tag in targets


def is_recovery(route: Route, tag: ReleaseTag, history: ReleaseHistory) -> bool:
    """Return whether a swap to a release brings a failed route back to what it has run before.

    Such a swap may install an older release.
    """
    return not is_proven(route) and tag in history.proven


def rollback_release(
    route: Route, history: ReleaseHistory, given_up: Set[ReleaseTag]
) -> ReleaseTag:
    """Return the release that a rollback of a route installs.

    If the installed release is not proven, the last proven one. Only a healthy, proven route goes
    to the one before; if it has just come back from a bad release, it stays.

    Args:
        route: the route.
        history: its releases.
        given_up: releases whose rollout was stopped, aborted or undone.

    Raises:
        NoPreviousReleaseError: there is none.
    """
    healthy, current = is_proven(route), route.current_release_tag
    good = [tag for tag in history.proven if tag not in history.withdrawn | given_up]
    candidates = [tag for tag in good if tag != current] if healthy else good or history.proven
    name = f"route {route.route_id}"
    if healthy and history.left is not None and history.left in history.failed | given_up:
        further = ""
        if candidates:
            further = (
                f"; `relight route swap {route.route_id} {candidates[-1]} --allow-downgrade` goes "
                "further back"
            )
        raise NoPreviousReleaseError(
            f"{name} is back at {current} from {history.left} already, and proven there, as "
            f"`relight route show {route.route_id}` shows{further}"
        )
    if candidates:
        return candidates[-1]
    raise NoPreviousReleaseError(
        f"{name} was never proven at a release other than {current or route.target_release_tag}: "
        f"cannot roll back; `relight release list` shows the releases to which `relight route "
        f"swap {route.route_id}` brings it"
    )


def known_good(
    wanted: DesiredRelease,
    history: ReleaseHistory,
    given_up: Set[ReleaseTag],
    declared: ReleaseTag | None,
) -> DesiredRelease:
    """Return the release for another machine of a route: the wanted one, if it is not known as bad.

    Otherwise the last release that the route was proven at, else the declared one.

    Args:
        wanted: what the route should run.
        history: its releases.
        given_up: releases whose rollout was stopped, aborted or undone.
        declared: what is declared for its track; None if nothing is.
    """
    good = [tag for tag in history.proven if tag not in history.withdrawn | given_up]
    last = good[-1] if good else None
    if wanted.tag in given_up:
        reason = f"the rollout of {wanted.tag} was stopped, aborted or undone"
    elif wanted.tag in history.failed and wanted.tag != last:
        reason = f"{wanted.tag} failed on this route"
    else:
        return wanted
    tag = last or declared or wanted.tag
    if tag == wanted.tag:
        return wanted
    return DesiredRelease(
        tag=tag,
        declared_by=f"the last proof of {tag}" if last else wanted.declared_by,
        instead_of=wanted.tag,
        reason=reason,
    )


def previous_release(history: ReleaseHistory, undone: ReleaseTag) -> ReleaseTag | None:
    """Return the last other release that a route was proven at; None if there is none."""
    others = [tag for tag in history.proven if tag != undone]
    return others[-1] if others else None


def _same_machine(proof: ReleaseEvent, failure: ReleaseEvent) -> bool:
    return failure.machine_key in (None, proof.machine_key)


def _left(order: list[ReleaseTag], proven: list[ReleaseTag]) -> ReleaseTag | None:
    """Return the release before the last proven one, if that had been proven earlier too."""
    if not proven:
        return None
    current = proven[-1]
    others = [position for position, tag in enumerate(order) if tag != current]
    if not others or current not in order[: others[-1]]:
        return None
    return order[others[-1]]
