"""When the breaker opens and closes. While it is open, nothing is destroyed anywhere.

Too many unreachable machines at once are the control plane's or a provider's fault, not the hosts'.

Small groups have special rules:
- A single unreachable machine never opens the breaker. In a region with one machine no more can be
  observed, and its replacement is proven in that region before the machine is destroyed.
- A group that may be above the limit, but has too few observations, is `unknown`: nothing of it is
  destroyed until more of its machines are observed. Of two machines, the unreachable one is
  replaced only after the other one was reached.
- A machine that was destroyed as unreachable still counts for a while. Otherwise a region that
  fails machine by machine would show only one loss at a time.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    BreakerLimits,
    ConnectivityResult,
    Destruction,
    GroupReach,
    MachineObservation,
)
from relight.domain.disruption import groups_named
from relight.domain.hold import Hold, Selector

FLEET_GROUP = "fleet"
"""The group of all machines. If each region has one machine, only this group shows an outage."""


def breaker_groups(provider: str, region: str, track: str | None) -> tuple[str, ...]:
    """Return the groups of a machine. A pool machine has no track."""
    provider_group, region_group, track_group = groups_named(provider, region, track or "")
    names = (FLEET_GROUP, str(provider_group), str(region_group))
    return names if track is None else (*names, str(track_group))


def breaker_group(covers: Selector) -> str:
    """Return the group that a breaker override covers."""
    provider, region, track = groups_named(
        covers.provider or "", covers.region or "", covers.track or ""
    )
    if covers.track:
        return str(track)
    if covers.region:
        return str(region)
    return str(provider) if covers.provider else FLEET_GROUP


def count_reach(
    machines: Iterable[MachineObservation],
    destructions: Iterable[Destruction],
    limits: BreakerLimits,
    now: datetime,
) -> tuple[GroupReach, ...]:
    """Return the counts of each group, sorted by its name.

    Args:
        machines: the fleet's machines, the pool included.
        destructions: recent destructions.
        limits: how long observations and losses count.
        now: the current time, with its time zone.
    """
    total: Counter[str] = Counter()
    observed: Counter[str] = Counter()
    unreachable: Counter[str] = Counter()
    for machine in machines:
        groups = breaker_groups(machine.provider, machine.region, machine.track)
        total.update(groups)
        if is_fresh(machine, limits, now):
            observed.update(groups)
            if not machine.reached:
                unreachable.update(groups)
    for lost in destructions:
        if lost.unreachable and now - lost.at < limits.remembered_for:
            groups = breaker_groups(lost.provider, lost.region, lost.track)
            for counts in (total, observed, unreachable):
                counts.update(groups)
    return tuple(
        GroupReach(
            group=group,
            machines=total[group],
            observed=observed[group],
            unreachable=unreachable[group],
        )
        for group in sorted(total)
    )


def is_fresh(machine: MachineObservation, limits: BreakerLimits, now: datetime) -> bool:
    """Return whether the last observation of a machine still counts.

    Reachable observations expire; unreachable ones hold until the host answers. Otherwise the
    breaker would close over a region that is no longer observed.
    """
    if machine.observed_at is None:
        return False
    return not machine.reached or now - machine.observed_at <= limits.observation_lasts


def too_many(reach: GroupReach, limits: BreakerLimits, share: float | None = None) -> bool:
    """Return whether too many machines of a group are unreachable.

    Machines without an observation count as reachable here, so that the breaker opens only on
    evidence.

    Args:
        reach: the group's counts.
        limits: the minimum number and the share.
        share: used instead of `open_share`.
    """
    limit = limits.open_share if share is None else share
    return (
        reach.unreachable >= limits.min_unreachable and reach.unreachable > limit * reach.machines
    )


def is_unknown(reach: GroupReach, limits: BreakerLimits) -> bool:
    """Return whether more of a group must be observed before anything of it is destroyed.

    That is the case if too large a share of the observed machines is unreachable. Here a single
    unreachable machine is enough, since the next one may be unreachable as well.
    """
    return (
        reach.observed < reach.machines
        and reach.unreachable > limits.open_share * reach.observed
        and not too_many(reach, limits)
    )


def update_breaker(
    before: Breaker,
    reach: Sequence[GroupReach],
    connectivity: Sequence[ConnectivityResult],
    limits: BreakerLimits,
    now: datetime,
    overrides: Sequence[Hold] = (),
) -> Breaker:
    """Return the state of the breaker after an observation of the fleet.

    It opens immediately. It closes after `calm_for` without a cause. A group that opened it must
    fall to the lower `close_share`, so that the breaker does not flap. One recent successful
    connectivity check is enough; without one the breaker is open.

    Args:
        before: the state before.
        reach: all groups, from `count_reach`.
        connectivity: the last result of each connectivity check.
        limits: when it opens and closes.
        now: the time of the observation, with its time zone.
        overrides: holds that name the groups to ignore; ended ones do not count.
    """
    overridden = {breaker_group(each.covers) for each in overrides if each.is_in_force(now)}
    judged = [each for each in reach if each.group not in overridden]
    unknown = tuple(each for each in judged if is_unknown(each, limits))
    known = {each.group for each in before.incident.groups} if before.incident else set()
    tripped = tuple(
        each
        for each in judged
        if too_many(each, limits, limits.close_share if each.group in known else None)
    )
    offline = not any(
        each.reached and now - each.observed_at <= limits.connectivity_lasts
        for each in connectivity
    )
    if tripped or offline:
        incident = _incident(before.incident, tripped, connectivity if offline else None, now)
        return Breaker(incident=incident, unknown=unknown)
    if before.incident is None:
        return Breaker(unknown=unknown)
    # Without enough observations it is not known whether the cause is over.
    if known & {each.group for each in unknown}:
        return Breaker(incident=before.incident, unknown=unknown)
    calm_since = before.calm_since or now
    if now - calm_since >= limits.calm_for:
        return Breaker(unknown=unknown)
    return Breaker(incident=before.incident, calm_since=calm_since, unknown=unknown)


def machines_to_observe(
    breaker: Breaker,
    machines: Iterable[MachineObservation],
    limits: BreakerLimits,
    now: datetime,
    limit: int,
) -> tuple[str, ...]:
    """Return the keys of machines to observe next, so that unknown groups become known.

    For each group as many as are enough if all of them are reached; the longest unobserved first.

    Args:
        breaker: its state, with the unknown groups.
        machines: the fleet's.
        limits: how long observations count.
        now: the current time, with its time zone.
        limit: maximum number of keys.
    """
    missing = {
        # At least one, whatever the division rounds to.
        each.group: max(1, math.ceil(each.unreachable / limits.open_share) - each.observed)
        for each in breaker.unknown
    }
    chosen: list[str] = []
    for machine in sorted(machines, key=_oldest_observation_first):
        if len(chosen) >= limit:
            break
        if is_fresh(machine, limits, now):
            continue
        groups = breaker_groups(machine.provider, machine.region, machine.track)
        unknown = [group for group in groups if missing.get(group, 0) > 0]
        if unknown:
            chosen.append(machine.key)
            for group in unknown:
                missing[group] -= 1
    return tuple(chosen)


def _incident(
    before: BreakerIncident | None,
    tripped: Sequence[GroupReach],
    connectivity: Sequence[ConnectivityResult] | None,
    now: datetime,
) -> BreakerIncident:
    """Return the current incident: the one before with new counts, or a new one."""
    worst = {each.group: each for each in before.groups} if before else {}
    for each in tripped:
        known = worst.get(each.group)
        if known is None or _share(known) < _share(each):
            worst[each.group] = each
    causes = [
        f"{each.group}: {each.unreachable} of {each.machines} machines cannot be reached"
        for each in tripped
    ]
    if connectivity is not None:
        causes.insert(0, _offline_text(connectivity))
    return BreakerIncident(
        opened_at=before.opened_at if before else now,
        last_observed_at=now,
        groups=tuple(worst[group] for group in sorted(worst)),
        connectivity=tuple(connectivity)
        if connectivity is not None
        else before.connectivity
        if before
        else (),
        summary="; ".join(causes),
    )


def _offline_text(connectivity: Sequence[ConnectivityResult]) -> str:
    if not connectivity:
        return "no connectivity check has a result: the control plane itself may be offline"
    names = ", ".join(sorted(each.name for each in connectivity))
    return f"no connectivity check of the control plane succeeded recently ({names})"


def _share(reach: GroupReach) -> float:
    return reach.unreachable / reach.machines


def _oldest_observation_first(machine: MachineObservation) -> tuple[bool, datetime | None, str]:
    # Machines without an observation come first. Their times are None and compare as equal.
    return machine.observed_at is not None, machine.observed_at, machine.key
