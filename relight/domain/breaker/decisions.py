"""Whether machines may be destroyed: the breaker comes before the bulldozer.

Too many machines out of reach at once are our fault or a provider's, not the hosts'. The breaker is
then open, and nothing is destroyed anywhere.

Small groups need thought. One machine is never too many: of a region of one, its loss is all that
can be seen, and its replacement has to be proven in that very region before it is destroyed. Two
are, from a share of them on. So that a group is not believed well because nobody observed, one that
the looks speak against is `unsure` until enough of its machines were looked at: of two machines,
the one that is not reached is replaced only once the other one was. And a machine that was
destroyed because nobody reached it counts for a while, or else a region that goes down one by one
would show one loss at a time.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    BreakerLimits,
    BreakerOverride,
    ConnectivityResult,
    Destruction,
    GroupReach,
    MachineObservation,
)
from relight.domain.disruption import groups_named

FLEET_GROUP = "fleet"
"""All machines: where each region has one, only this shows that all are out of reach."""

HOUR = timedelta(hours=1)


def breaker_groups(provider: str, region: str, track: str | None) -> tuple[str, ...]:
    """Return the groups that a machine counts in; one in the pool counts in no track."""
    provider_group, region_group, track_group = groups_named(provider, region, track or "")
    names = (FLEET_GROUP, str(provider_group), str(region_group))
    return names if track is None else (*names, str(track_group))


def count_reach(
    machines: Iterable[MachineObservation],
    destructions: Iterable[Destruction],
    limits: BreakerLimits,
    now: datetime,
) -> tuple[GroupReach, ...]:
    """Count each group's machines, by its name.

    Args:
        machines: the fleet's, those of the pool too.
        destructions: those of the last hours.
        limits: say how long a look says something, and how long a loss is remembered.
        now: the instant that is asked about, with its time zone.
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
    """Say whether the last look at a machine still says something.

    Good news does not keep. Bad news does, until somebody gets through: the breaker would else
    close over a region that nobody looks at any more.
    """
    if machine.observed_at is None:
        return False
    return not machine.reached or now - machine.observed_at <= limits.observation_lasts


def too_many(reach: GroupReach, limits: BreakerLimits, share: float | None = None) -> bool:
    """Say whether more of a group is out of reach than any hosts' own faults explain.

    Machines that nobody looked at count as reached here: it takes certainty to open.

    Args:
        reach: the group's count.
        limits: the smallest number that counts, and the share.
        share: another share than the one to open at.
    """
    most = limits.open_share if share is None else share
    return reach.unreachable >= limits.min_unreachable and reach.unreachable > most * reach.machines


def is_unknown(reach: GroupReach, limits: BreakerLimits) -> bool:
    """Say whether a group has to be looked at further before anything of it is destroyed.

    That is so where the machines that were looked at would be too many out of reach, were they
    all that there are; one alone is then enough, since the next one may be out of reach as well.
    """
    return (
        reach.observed < reach.machines
        and reach.unreachable > limits.open_share * reach.observed
        and not too_many(reach, limits)
    )


def turn(
    before: Breaker,
    reach: Sequence[GroupReach],
    connectivity: Sequence[ConnectivityResult],
    limits: BreakerLimits,
    now: datetime,
    overrides: Sequence[BreakerOverride] = (),
) -> Breaker:
    """Return where the breaker stands after a look at the fleet.

    It opens at once, and closes when nothing was amiss for `calm_for`: what it opened for has to
    fall to a lower share than it rose to, so that it does not flap. One witness that was reached is
    enough; none at all, or none that was looked at lately, opens it.

    Args:
        before: where it stood.
        reach: all groups, as `count_reach` counts them.
        connectivity: the last result of each connectivity check.
        limits: when it opens and closes.
        now: the instant of the look, with its time zone.
        overrides: groups that somebody vouches for; those that have expired do not count.
    """
    vouched = {each.group for each in overrides if now < each.expires_at}
    judged = [each for each in reach if each.group not in vouched]
    unknown = tuple(each for each in judged if is_unknown(each, limits))
    known = {each.group for each in before.incident.groups} if before.incident else set()
    tripped = tuple(
        each
        for each in judged
        if too_many(each, limits, limits.close_share if each.group in known else None)
    )
    blind = not any(
        each.reached and now - each.observed_at <= limits.connectivity_lasts
        for each in connectivity
    )
    if tripped or blind:
        incident = _incident(before.incident, tripped, connectivity if blind else None, now)
        return Breaker(incident=incident, unknown=unknown)
    if before.incident is None:
        return Breaker(unknown=unknown)
    # What it opened for is not known to be over as long as nobody observed.
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
    at_most: int,
) -> tuple[str, ...]:
    """Return the keys of machines whose look tells about the groups that are unsure.

    Of each group as many as would do if all of them were reached, those that were not looked at
    for the longest first.

    Args:
        breaker: where it stands, with the groups that it is unsure of.
        machines: the fleet's.
        limits: say how long a look says something.
        now: the instant that is asked about, with its time zone.
        at_most: how many keys are returned.
    """
    missing = {
        # One at the least, whatever the division rounds to.
        each.group: max(1, math.ceil(each.unreachable / limits.open_share) - each.observed)
        for each in breaker.unknown
    }
    chosen: list[str] = []
    for machine in sorted(machines, key=_oldest_look_first):
        if len(chosen) >= at_most:
            break
        if is_fresh(machine, limits, now):
            continue
        groups = breaker_groups(machine.provider, machine.region, machine.track)
        wanted = [group for group in groups if missing.get(group, 0) > 0]
        if wanted:
            chosen.append(machine.key)
            for group in wanted:
                missing[group] -= 1
    return tuple(chosen)


class Allowance:
    """How many machines may still be destroyed now, by region."""

    def __init__(
        self,
        breaker: Breaker,
        destructions: Iterable[Destruction],
        limits: BreakerLimits,
        now: datetime,
    ) -> None:
        """Count what was destroyed within the last hour.

        Args:
            breaker: where it stands.
            destructions: those of the last hour, and those that are under way.
            limits: how many there may be.
            now: the instant that is asked about, with its time zone.
        """
        self._incident = breaker.incident
        self._unknown = {each.group: each for each in breaker.unknown}
        self._limits = limits
        recent = [each for each in destructions if now - each.at < HOUR]
        self._all = len(recent)
        self._by_region = Counter((each.provider, each.region) for each in recent)

    def why_not(self, provider: str, region: str, track: str | None = None) -> str | None:
        """Return why no further machine of this place may be destroyed now; None if one may."""
        if self._incident is not None:
            return f"the breaker is open: {self._incident.summary}"
        for group in breaker_groups(provider, region, track):
            if reach := self._unknown.get(group):
                return (
                    f"{group}: {reach.unreachable} of {reach.observed} that were looked at lately "
                    f"cannot be reached; further ones of {reach.machines} are looked at first"
                )
        taken, most = self._by_region[provider, region], self._limits.destroyed_per_hour_in_region
        if taken >= most:
            return f"region {provider}/{region}: {taken} destroyed within an hour, {most} may be"
        if self._all >= self._limits.destroyed_per_hour:
            return f"{self._all} destroyed within an hour, {self._limits.destroyed_per_hour} may be"
        return None

    def take(self, provider: str, region: str) -> None:
        """Count a further machine of this place as destroyed."""
        self._all += 1
        self._by_region[provider, region] += 1


def _incident(
    before: BreakerIncident | None,
    tripped: Sequence[GroupReach],
    connectivity: Sequence[ConnectivityResult] | None,
    now: datetime,
) -> BreakerIncident:
    """Return the incident that is on, going on from the one before if there is one."""
    worst = {each.group: each for each in before.groups} if before else {}
    for each in tripped:
        known = worst.get(each.group)
        if known is None or _share(known) < _share(each):
            worst[each.group] = each
    said = [
        f"{each.group}: {each.unreachable} of {each.machines} machines cannot be reached"
        for each in tripped
    ]
    if connectivity is not None:
        said.insert(0, _blindness(connectivity))
    return BreakerIncident(
        opened_at=before.opened_at if before else now,
        last_observed_at=now,
        groups=tuple(worst[group] for group in sorted(worst)),
        connectivity=tuple(connectivity)
        if connectivity is not None
        else before.connectivity
        if before
        else (),
        summary="; ".join(said),
    )


def _blindness(connectivity: Sequence[ConnectivityResult]) -> str:
    if not connectivity:
        return "no witness was looked at, so nobody knows whether it lies with the control plane"
    names = ", ".join(sorted(each.name for each in connectivity))
    return f"the control plane did not reach a single witness lately ({names})"


def _share(reach: GroupReach) -> float:
    return reach.unreachable / reach.machines


def _oldest_look_first(machine: MachineObservation) -> tuple[bool, datetime | None, str]:
    # Among those that were never looked at the instant is None on both sides, and equal.
    return machine.observed_at is not None, machine.observed_at, machine.key
