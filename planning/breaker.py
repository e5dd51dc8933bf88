"""Whether machines may be destroyed: the breaker comes before the bulldozer.

Too many machines out of reach at once are our fault or a provider's, not the hosts'. The breaker is
then open, and nothing is destroyed anywhere.

Small groups need thought. One machine is never too many: of a region of one, its loss is all that
can be seen, and its replacement has to be proven in that very region before it is destroyed. Two
are, from a share of them on. So that a group is not believed well because nobody looked, one that
the looks speak against is `unsure` until enough of its machines were looked at: of two machines,
the one that is not reached is replaced only once the other one was. And a machine that was
destroyed because nobody reached it counts for a while, or else a region that goes down one by one
would show one loss at a time.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from messages.breaker import (
    Breaker,
    BreakerIncident,
    BreakerLimits,
    BreakerOverride,
    Destruction,
    GroupReach,
    MachineLook,
    WitnessLook,
)
from planning.disruption import groups_named

FLEET_GROUP = "fleet"
"""All machines: where each region has one, only this shows that all are out of reach."""

HOUR = timedelta(hours=1)


def breaker_groups(provider: str, region: str, track: str | None) -> tuple[str, ...]:
    """Return the groups that a machine counts in; one in the pool counts in no track."""
    provider_group, region_group, track_group = groups_named(provider, region, track or "")
    names = (FLEET_GROUP, str(provider_group), str(region_group))
    return names if track is None else (*names, str(track_group))


def count_reach(
    machines: Iterable[MachineLook],
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
    looked: Counter[str] = Counter()
    unreachable: Counter[str] = Counter()
    for machine in machines:
        groups = breaker_groups(machine.provider, machine.region, machine.track)
        total.update(groups)
        if is_fresh(machine, limits, now):
            looked.update(groups)
            if not machine.reached:
                unreachable.update(groups)
    for lost in destructions:
        if lost.unreachable and now - lost.at < limits.remembered_for:
            groups = breaker_groups(lost.provider, lost.region, lost.track)
            for counts in (total, looked, unreachable):
                counts.update(groups)
    return tuple(
        GroupReach(
            group=group,
            machines=total[group],
            looked_at=looked[group],
            unreachable=unreachable[group],
        )
        for group in sorted(total)
    )


def is_fresh(machine: MachineLook, limits: BreakerLimits, now: datetime) -> bool:
    """Say whether the last look at a machine still says something.

    Good news does not keep. Bad news does, until somebody gets through: the breaker would else
    close over a region that nobody looks at any more.
    """
    if machine.looked_at is None:
        return False
    return not machine.reached or now - machine.looked_at <= limits.look_lasts


def too_many(reach: GroupReach, limits: BreakerLimits, share: float | None = None) -> bool:
    """Say whether more of a group is out of reach than any hosts' own faults explain.

    Machines that nobody looked at count as reached here: it takes certainty to open.

    Args:
        reach: the group's count.
        limits: the smallest number that counts, and the share.
        share: another share than the one to open at.
    """
    most = limits.open_share if share is None else share
    return reach.unreachable >= limits.open_at_least and reach.unreachable > most * reach.machines


def is_unsure(reach: GroupReach, limits: BreakerLimits) -> bool:
    """Say whether a group has to be looked at further before anything of it is destroyed.

    That is so where the machines that were looked at would be too many out of reach, were they
    all that there are; one alone is then enough, since the next one may be out of reach as well.
    """
    return (
        reach.looked_at < reach.machines
        and reach.unreachable > limits.open_share * reach.looked_at
        and not too_many(reach, limits)
    )


def turn(
    before: Breaker,
    reach: Sequence[GroupReach],
    witnesses: Sequence[WitnessLook],
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
        witnesses: the last look at each.
        limits: when it opens and closes.
        now: the instant of the look, with its time zone.
        overrides: groups that somebody vouches for; those that have expired do not count.
    """
    vouched = {each.group for each in overrides if now < each.expires_at}
    judged = [each for each in reach if each.group not in vouched]
    unsure = tuple(each for each in judged if is_unsure(each, limits))
    known = {each.group for each in before.incident.groups} if before.incident else set()
    tripped = tuple(
        each
        for each in judged
        if too_many(each, limits, limits.close_share if each.group in known else None)
    )
    blind = not any(
        each.reached and now - each.looked_at <= limits.witness_lasts for each in witnesses
    )
    if tripped or blind:
        incident = _incident(before.incident, tripped, witnesses if blind else None, now)
        return Breaker(incident=incident, unsure=unsure)
    if before.incident is None:
        return Breaker(unsure=unsure)
    # What it opened for is not known to be over as long as nobody looked.
    if known & {each.group for each in unsure}:
        return Breaker(incident=before.incident, unsure=unsure)
    calm_since = before.calm_since or now
    if now - calm_since >= limits.calm_for:
        return Breaker(unsure=unsure)
    return Breaker(incident=before.incident, calm_since=calm_since, unsure=unsure)


def machines_to_look_at(
    breaker: Breaker,
    machines: Iterable[MachineLook],
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
        each.group: max(1, math.ceil(each.unreachable / limits.open_share) - each.looked_at)
        for each in breaker.unsure
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
        self._unsure = {each.group: each for each in breaker.unsure}
        self._limits = limits
        recent = [each for each in destructions if now - each.at < HOUR]
        self._all = len(recent)
        self._by_region = Counter((each.provider, each.region) for each in recent)

    def why_not(self, provider: str, region: str, track: str | None = None) -> str | None:
        """Return why no further machine of this place may be destroyed now; None if one may."""
        if self._incident is not None:
            return f"the breaker is open: {self._incident.summary}"
        for group in breaker_groups(provider, region, track):
            if reach := self._unsure.get(group):
                return (
                    f"{group}: {reach.unreachable} of {reach.looked_at} that were looked at lately "
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
    witnesses: Sequence[WitnessLook] | None,
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
    if witnesses is not None:
        said.insert(0, _blindness(witnesses))
    return BreakerIncident(
        opened_at=before.opened_at if before else now,
        seen_at=now,
        groups=tuple(worst[group] for group in sorted(worst)),
        witnesses=tuple(witnesses) if witnesses is not None else before.witnesses if before else (),
        summary="; ".join(said),
    )


def _blindness(witnesses: Sequence[WitnessLook]) -> str:
    if not witnesses:
        return "no witness was looked at, so nobody knows whether it lies with the control plane"
    names = ", ".join(sorted(each.name for each in witnesses))
    return f"the control plane did not reach a single witness lately ({names})"


def _share(reach: GroupReach) -> float:
    return reach.unreachable / reach.machines


def _oldest_look_first(machine: MachineLook) -> tuple[bool, datetime | None, str]:
    # Among those that were never looked at the instant is None on both sides, and equal.
    return machine.looked_at is not None, machine.looked_at, machine.key
