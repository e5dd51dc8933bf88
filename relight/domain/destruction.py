"""Destruction: whether a machine may be destroyed, and the removal of one."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from relight.domain.base import Message, Origin
from relight.domain.breaker.breaker import Breaker, BreakerLimits, Destruction
from relight.domain.breaker.decisions import breaker_groups
from relight.domain.machine import (
    DestroyMachineInput,
    Machine,
    MachineAtProvider,
    MachineOnRecord,
    RecordedAs,
)
from relight.domain.names import RouteId, TrackName

HOUR = timedelta(hours=1)
"""The period of the breaker's limits on destructions."""


class Removal(Message):
    """A machine that is to be destroyed.

    Attributes:
        provider_id: its id at the provider, None if never observed.
        track: its route's; None for a pool machine.
        reason: one sentence for a person.
        unreachable: it is destroyed because it could not be reached.
    """

    key: str
    provider: str
    region: str
    provider_id: str | None
    track: TrackName | None = None
    reason: str
    unreachable: bool = False
    origin: Origin


class RemoveMachineInput(Message):
    """Drain and destroy a machine that serves no route any more.

    Attributes:
        route_id: the route that it served.
        machine: as last observed.
        track: that of its route.
        reason: one sentence for a person.
        unreachable: it is destroyed because it could not be reached.
        drained: an earlier run has drained it.
    """

    route_id: RouteId
    machine: Machine
    track: TrackName
    reason: str
    unreachable: bool = False
    origin: Origin
    drained: bool = False


class MachineRemoved(Message):
    """The machine is destroyed, and that is recorded."""

    key: str


class CheckDestructionInput(Message):
    """Ask whether a machine may be destroyed now.

    Attributes:
        track: its route's; None for a pool machine.
    """

    key: str
    provider: str
    region: str
    track: TrackName | None = None


class DestructionAllowed(Message):
    """Whether a machine may be destroyed.

    Attributes:
        why_not: the reason of a refusal, until when it holds, and what ends it sooner; None if the
            machine may be destroyed.
        by_breaker: the breaker refuses it, and not an hourly limit.
    """

    why_not: str | None
    by_breaker: bool = False


class EvaluateBreakerInput(Message):
    """Evaluate the breaker now, whether or not a schedule does."""

    origin: Origin


class RecordDestroyedInput(Message):
    """Record that a machine is destroyed.

    Attributes:
        reason: why it was destroyed.
        unreachable: it was destroyed because it could not be reached.
    """

    key: str
    reason: str
    unreachable: bool
    origin: Origin


class Allowance:
    """How many machines may still be destroyed now, by region."""

    def __init__(
        self,
        breaker: Breaker,
        destructions: Iterable[Destruction],
        limits: BreakerLimits,
        now: datetime,
    ) -> None:
        """Count the destructions of the last hour.

        Args:
            breaker: the breaker's current state.
            destructions: those of the last hour, and those in progress.
            limits: the hourly limits.
            now: the current time, with its time zone.
        """
        self._breaker = breaker
        self._now = now
        self._unknown = {each.group: each for each in breaker.unknown}
        self._limits = limits
        recent = [each for each in destructions if now - each.at < HOUR]
        self._all = sorted(each.at for each in recent)
        self._by_region: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        for each in sorted(recent, key=lambda destruction: destruction.at):
            self._by_region[each.provider, each.region].append(each.at)

    def why_not(self, provider: str, region: str, track: str | None = None) -> str | None:
        """Return why no machine of this location may be destroyed now; None if one may.

        The reason says until when it holds, and what ends it sooner.
        """
        return self.why_breaker_refuses(provider, region, track) or self._why_limited(
            provider, region
        )

    def why_breaker_refuses(
        self, provider: str, region: str, track: str | None = None
    ) -> str | None:
        """Return why the breaker lets no machine of this location be destroyed; None if it does."""
        if (is_open := self.why_open()) is not None:
            return is_open
        for group in breaker_groups(provider, region, track):
            if reach := self._unknown.get(group):
                return (
                    f"{group}: {reach.unreachable} of {reach.observed} recently observed machines "
                    f"cannot be reached; more of its {reach.machines} are observed first, by "
                    "`relight reconcile`"
                )
        return None

    def why_open(self) -> str | None:
        """Return why the breaker is open, when it closes, and what closes it sooner."""
        incident, calm_for = self._breaker.incident, self._limits.calm_for
        if incident is None:
            return None
        if self._breaker.calm_since is not None:
            closes = f"it closes at {self._breaker.calm_since + calm_for:%H:%M} UTC if that lasts"
        else:
            closes = f"it closes {calm_for} after the cause is gone"
        # Nothing overrides that the control plane is offline.
        override = (
            ""
            if incident.connectivity and not incident.groups
            else ", or for one group with `relight breaker override add`"
        )
        return f"the breaker is open: {incident.summary}; {closes}{override}"

    def _why_limited(self, provider: str, region: str) -> str | None:
        """Return which hourly limit is reached, and until when; None if none is."""
        for where, destroyed, limit in (
            (
                f"region {provider}/{region}: ",
                self._by_region[provider, region],
                self._limits.destroyed_per_hour_in_region,
            ),
            ("", self._all, self._limits.destroyed_per_hour),
        ):
            if len(destroyed) >= limit:
                text = f"{where}{len(destroyed)} destroyed within an hour, {limit} may be"
                if limit == 0:
                    return text
                return f"{text}; the next at {destroyed[-limit] + HOUR:%H:%M} UTC"
        return None

    def take(self, provider: str, region: str) -> None:
        """Count one more destruction in this location."""
        self._all.append(self._now)
        self._by_region[provider, region].append(self._now)


def destruction_refusal(
    record: MachineOnRecord | None, found: MachineAtProvider, owner: str
) -> str | None:
    """Return why a machine must not be destroyed as the recorded one; None if it may be.

    Key, provider, id and generation must be equal on record and at the provider, and the machine
    must have our ownership tag. A machine that serves its route is not destroyed.

    Args:
        record: our record of it, None without one.
        found: what its provider reports now.
        owner: our ownership tag.
    """
    if record is None:
        return _ownership_mismatch(found, owner) or f"machine {found.key} is not on record"
    if mismatch := identity_mismatch(record, found, owner):
        return mismatch
    if record.serves and record.recorded_as is RecordedAs.RUNNING:
        return f"machine {found.key} serves route {record.route_id}"
    return None


def identity_mismatch(
    expected: MachineOnRecord | DestroyMachineInput, found: MachineAtProvider, owner: str
) -> str | None:
    """Return why a machine is not the expected one, or not ours; None if it is.

    Args:
        expected: key, provider, id and generation to compare with.
        found: what its provider reports now.
        owner: our ownership tag.
    """
    if mismatch := _ownership_mismatch(found, owner):
        return mismatch
    pairs = (
        ("key", expected.key, found.key),
        ("provider", expected.provider, found.provider),
        ("id", expected.provider_id, found.provider_id),
        ("generation", expected.generation, found.generation),
    )
    for name, recorded, actual in pairs:
        if recorded != actual:
            return f"machine {found.key}: its {name} is {actual}, on record is {recorded}"
    return None


def _ownership_mismatch(found: MachineAtProvider, owner: str) -> str | None:
    if found.owner == owner:
        return None
    tag = "no ownership tag" if found.owner is None else f"the ownership tag {found.owner}"
    return f"machine {found.key} has {tag}, ours is {owner}"
