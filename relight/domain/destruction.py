"""Destruction: whether a machine may be destroyed, and the removal of one."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from relight.domain.base import Message, Origin
from relight.domain.breaker.breaker import Breaker, BreakerLimits, Destruction
from relight.domain.breaker.decisions import breaker_groups
from relight.domain.duration import span
from relight.domain.machine import (
    Machine,
    MachineAtProvider,
    MachineOnRecord,
    RecordedAs,
)
from relight.domain.names import RouteId, TrackName

HOUR = timedelta(hours=1)
"""The period of the breaker's limits on destructions."""


class DestructionReason(StrEnum):
    """Why a machine is destroyed. The list is closed; each reason needs evidence of its own.

    `requested`: a person asked for it, on record. `undone`: the operation that created it failed.
    `unreachable`: its route has another machine, since this one could not be reached. `faulty`: it
    has a fault that repairs did not cure. `recycled`: its pool has more machines than are declared,
    or it could not be made ready. `orphan`: by the records it serves nothing.
    """

    REQUESTED = "requested"
    UNDONE = "undone"
    UNREACHABLE = "unreachable"
    FAULTY = "faulty"
    RECYCLED = "recycled"
    ORPHAN = "orphan"


class DestroyMachineInput(Message):
    """Destroy the machine that has this key at this provider, if that is allowed now.

    A machine with this key and another id or generation, or without our tag, is not destroyed.

    Attributes:
        provider: name of the provider's driver.
        key: the machine's label.
        provider_id: its id at the provider, None if the creation may not have answered.
        generation: the generation in its tag, None for the number of its key. For a machine from
            the pool it is not its route's generation.
        region: of the machine; None lists all regions.
        track: its route's; None for a pool machine.
        reason: why.
        text: the reason for a person, one sentence.
        unreachable: it is destroyed because it could not be reached; the breaker counts that.
        created_by: the run whose creation is undone. Only what this run created is destroyed
            without evidence of a fault.
    """

    provider: str
    key: str
    provider_id: str | None = None
    generation: int | None = None
    region: str | None = None
    track: TrackName | None = None
    reason: DestructionReason
    text: str = ""
    unreachable: bool = False
    created_by: str | None = None
    origin: Origin


class RefusedBy(StrEnum):
    """What keeps a machine from being destroyed.

    `kept`: a person keeps it. `serves`: it serves its route, on record. `answers`: it answers as
    ours, or did lately. `doubt`: what was observed may not be its own fault. `evidence`: its fault
    is too recent. `breaker`, `limit`: the breaker, the hourly limits.
    """

    KEPT = "kept"
    SERVES = "serves"
    ANSWERS = "answers"
    DOUBT = "doubt"
    EVIDENCE = "evidence"
    BREAKER = "breaker"
    LIMIT = "limit"


FOR_A_PERSON = frozenset({RefusedBy.KEPT, RefusedBy.SERVES, RefusedBy.ANSWERS, RefusedBy.DOUBT})
"""Refusals that waiting may never end: a person is told."""


class Refusal(Message):
    """Why a machine is not destroyed now.

    Attributes:
        why: one sentence for a person, with what ends the refusal.
        created: the operation that asks has created the machine itself.
    """

    by: RefusedBy
    why: str
    created: bool = False


class MachineDestroyed(Message):
    """The provider reports no machine with this key; or the destruction was refused.

    Attributes:
        was_present: the machine existed before.
        refusal: why it was not destroyed; None if it does not exist any more.
    """

    key: str
    was_present: bool
    refusal: Refusal | None = None


class RemoveMachineInput(Message):
    """Drain and destroy a machine that serves no route any more.

    Attributes:
        route_id: the route that it served; None if it served none.
        machine: as last observed; None if it never was. It is not drained then.
        request: the request to destroy it.
        reason: one sentence for a person.
        drained: an earlier run has drained it.
    """

    route_id: RouteId | None = None
    machine: Machine | None = None
    request: DestroyMachineInput
    reason: str
    origin: Origin
    drained: bool = False


class MachineRemoved(Message):
    """The machine is destroyed, and that is recorded; or a person keeps it.

    Attributes:
        kept: who keeps it; None if it is destroyed.
    """

    key: str
    kept: str | None = None


class EvaluateBreakerInput(Message):
    """Evaluate the breaker now, whether or not a schedule does.

    Attributes:
        max_verified: how many routes to verify are returned at most.
    """

    origin: Origin
    max_verified: int = 25


class BeginRemovalInput(Message):
    """Record that a machine is removed next: nothing continues with it."""

    key: str
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
        return self.why_breaker_refuses(provider, region, track) or self.why_limited(
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
            closes = f"it closes {span(calm_for)} after the cause is gone"
        # Nothing overrides that the control plane is offline.
        override = (
            ""
            if incident.offline or (incident.connectivity and not incident.groups)
            else ", or for one group with `relight breaker override add`"
        )
        return f"the breaker is open: {incident.summary}; {closes}{override}"

    def why_limited(self, provider: str, region: str) -> str | None:
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
                at = frees_at(destroyed, limit)
                return f"{text}; the next at {at:%H:%M} UTC" if at else text
        return None

    def take(self, provider: str, region: str) -> None:
        """Count one more destruction in this location."""
        self._all.append(self._now)
        self._by_region[provider, region].append(self._now)


def frees_at(destroyed: Sequence[datetime], limit: int) -> datetime | None:
    """Return when an hourly limit lets the next machine be destroyed, or has one place more.

    Args:
        destroyed: the times of the destructions within the last hour, the oldest first.
        limit: how many may be destroyed.

    Returns:
        None if nothing of the limit is used, or if it is 0.
    """
    if not destroyed or limit == 0:
        return None
    return destroyed[max(0, len(destroyed) - limit)] + HOUR


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
