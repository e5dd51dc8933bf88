"""When the breaker opens and closes. While it is open, nothing is destroyed anywhere.

Too many unreachable machines at once are the control plane's or a provider's fault, not the hosts'.

A machine that answers, but locks the control plane out, is unreachable as well. If many do so at
once, the control plane's own key or secret is wrong (`locked_out`).

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
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

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

CHECK_KEYS = (
    "The control plane's own key, secret or sudo rule is probably wrong: check "
    "RELIGHT_SSH__CLIENT_KEY and RELIGHT_SSH__HOST_KEY_SECRET of each worker, and "
    "/etc/sudoers.d on a host. Once that is right, `relight reconcile` proves all machines again."
)

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
        machines: the fleet's machines, the pool included. One whose destruction has begun counts
            only as destroyed, though its provider may still have it.
        destructions: recent destructions.
        limits: how long observations and losses count.
        now: the current time, with its time zone.
    """
    destructions = list(destructions)
    ending = {each.key for each in destructions}
    machines = [each for each in machines if each.key not in ending]
    stale_before = last_locked_out(machines)
    total: Counter[str] = Counter()
    observed: Counter[str] = Counter()
    unreachable: Counter[str] = Counter()
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for machine in machines:
        groups = breaker_groups(machine.provider, machine.region, machine.track)
        total.update(groups)
        if is_fresh(machine, limits, now, stale_before):
            observed.update(groups)
            if not machine.reached:
                unreachable.update(groups)
            if machine.locked_out_by is not None:
                for group in groups:
                    kinds[group][machine.locked_out_by] += 1
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
            locked_out=kinds[group].total(),
            locked_out_by=tuple(sorted(kinds[group])),
        )
        for group in sorted(total)
    )


def locked_out(
    machines: Iterable[MachineObservation], breaker: Breaker, limits: BreakerLimits
) -> Mapping[str, MachineObservation]:
    """Return the machines that lock the control plane out, by key; none if it is only one.

    One alone is a fault of its host, unless the breaker is open because many did so: it may be the
    last of them. Several at once may have one cause here, which can be found out without a change:
    they are verified in each reconcile run.
    """
    found = {each.key: each for each in machines if each.locked_out_by is not None}
    is_incident = breaker.incident is not None and breaker.incident.locks_out
    return found if is_incident or len(found) >= limits.min_unreachable else {}


def last_locked_out(machines: Iterable[MachineObservation]) -> datetime | None:
    """Return when a machine last began to lock the control plane out; None if none does.

    A key that was wrong from then on lets no other machine be reached either, whatever was observed
    there before.
    """
    since = [each.locked_out_since for each in machines if each.locked_out_since is not None]
    return max(since, default=None)


def is_fresh(
    machine: MachineObservation,
    limits: BreakerLimits,
    now: datetime,
    stale_before: datetime | None = None,
) -> bool:
    """Return whether the last observation of a machine still counts.

    Reachable observations expire; unreachable ones hold until the host answers. Otherwise the
    breaker would close over a region that is no longer observed.

    Args:
        machine: the machine.
        limits: how long a reachable observation counts.
        now: the current time, with its time zone.
        stale_before: reachable observations from before do not count (`last_locked_out`).
    """
    if machine.observed_at is None:
        return False
    if not machine.reached:
        return True
    is_stale = stale_before is not None and machine.observed_at <= stale_before
    return not is_stale and _lasts(machine.observed_at, limits.observation_lasts, now)


def _lasts(observed_at: datetime, duration: timedelta, now: datetime) -> bool:
    """Return whether an observation still counts. One of the future never does."""
    return -duration <= now - observed_at <= duration


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
    connectivity: Sequence[ConnectivityResult] | None,
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
        connectivity: the last result of each connectivity check; None if none was made lately.
            Then an incident that began by it goes on, and none begins.
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
    if connectivity is None:
        checks = before.incident.connectivity if before.incident else ()
        offline = before.incident is not None and before.incident.offline
    else:
        checks = tuple(connectivity)
        offline = not any(
            each.reached and _lasts(each.observed_at, limits.connectivity_lasts, now)
            for each in connectivity
        )
    if tripped or offline:
        incident = _incident(before.incident, tripped, checks if offline else None, now)
        return Breaker(incident=incident, unknown=unknown)
    if before.incident is None:
        return Breaker(unknown=unknown)
    # Without enough observations it is not known whether the cause is over.
    if known & {each.group for each in unknown}:
        return Breaker(incident=before.incident, unknown=unknown)
    calm_since = min(before.calm_since or now, now)
    if now - calm_since >= limits.calm_for:
        return Breaker(unknown=unknown)
    return Breaker(incident=before.incident, calm_since=calm_since, unknown=unknown)


def machines_to_observe(
    breaker: Breaker,
    machines: Iterable[MachineObservation],
    limits: BreakerLimits,
    now: datetime,
    limit: int,
    stale_before: datetime | None = None,
) -> tuple[str, ...]:
    """Return the keys of machines to observe next, so that unknown groups become known.

    For each group as many as are enough if all of them are reached; the longest unobserved first.

    Args:
        breaker: its state, with the unknown groups.
        machines: the fleet's.
        limits: how long observations count.
        now: the current time, with its time zone.
        limit: maximum number of keys.
        stale_before: reachable observations from before do not count (`last_locked_out`).
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
        if is_fresh(machine, limits, now, stale_before):
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
    causes = [_cause_text(each) for each in tripped]
    locks_out = any(2 * each.locked_out > each.unreachable for each in tripped)
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
        offline=connectivity is not None,
        summary="; ".join(causes),
        to_do=CHECK_KEYS if locks_out else "",
        locks_out=locks_out,
    )


def _cause_text(reach: GroupReach) -> str:
    kinds = ", ".join(reach.locked_out_by)
    if reach.locked_out == reach.unreachable:
        what = f"machines answer, but lock the control plane out ({kinds})"
    elif reach.locked_out:
        what = f"machines cannot be reached, {reach.locked_out} of them lock us out ({kinds})"
    else:
        what = "machines cannot be reached"
    return f"{reach.group}: {reach.unreachable} of {reach.machines} {what}"


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
