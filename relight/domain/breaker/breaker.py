"""The breaker: observations of the whole fleet, and whether machines may be destroyed."""

from datetime import timedelta
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from relight.domain.base import Message
from relight.domain.duration import Duration
from relight.domain.names import TrackName


class MachineObservation(Message):
    """The last observation of a machine, by an operation on its route or at its provider.

    Attributes:
        key: the machine's.
        track: its route's; None for a pool machine.
        observed_at: time of the observation; None if there was none.
        reached: whether the control plane could log in and work there.
        locked_out_by: the kind of the fault by which the machine, though it answered, kept the
            control plane out; None otherwise.
        locked_out_since: since when it has done so.
    """

    key: str
    provider: str
    region: str
    track: TrackName | None = None
    observed_at: AwareDatetime | None = None
    reached: bool = False
    locked_out_by: str | None = None
    locked_out_since: AwareDatetime | None = None


class ConnectivityResult(Message):
    """The result of a connectivity check: whether the control plane itself is online.

    Attributes:
        name: the address, as in `https://deb.debian.org`.
        observed_at: time of the check.
        reached: whether the address answered.
        answer: the answer, for a person.
    """

    name: str
    observed_at: AwareDatetime
    reached: bool
    answer: str = ""


class Destruction(Message):
    """A machine that was destroyed, or is about to be.

    Attributes:
        at: time of the request.
        key: the machine's; None if it is not known.
        track: its route's; None for a pool machine.
        unreachable: it was destroyed because it could not be reached. The breaker counts that for
            a while.
    """

    at: AwareDatetime
    key: str | None = None
    provider: str
    region: str
    track: TrackName | None = None
    unreachable: bool = False


class BreakerLimits(Message):
    """When the breaker opens and closes, and how many machines may be destroyed while closed.

    Attributes:
        open_share: the breaker opens if more than this share of a group is unreachable; 0 to 1.
        close_share: a group that opened it must fall to this share or below before it closes.
        min_unreachable: minimum number of unreachable machines in such a group. A single one is
            always a fault of its host.
        calm_for: how long all groups must stay below their limits before the breaker closes.
        observation_lasts: how long a machine that was reached counts as reachable.
        connectivity_lasts: how long the result of a connectivity check is valid.
        remembered_for: how long a machine that was destroyed as unreachable still counts as
            unreachable.
        destroyed_per_hour: how many machines may be destroyed within an hour.
        destroyed_per_hour_in_region: how many of them in one region of a provider.
        spared_for: how long a machine is not destroyed after it answered as ours, unless a person
            asks for it; and how long a fault must last before a machine is destroyed for it.
    """

    open_share: float = Field(default=0.2, gt=0, lt=1)
    close_share: float = Field(default=0.1, ge=0, lt=1)
    min_unreachable: int = Field(default=2, ge=2)
    calm_for: Duration = Field(default=timedelta(minutes=15), ge=timedelta(0))
    observation_lasts: Duration = Field(default=timedelta(minutes=20), gt=timedelta(0))
    connectivity_lasts: Duration = Field(default=timedelta(minutes=5), gt=timedelta(0))
    remembered_for: Duration = Field(default=timedelta(hours=1), ge=timedelta(0))
    destroyed_per_hour: int = Field(default=10, ge=0)
    destroyed_per_hour_in_region: int = Field(default=2, ge=0)
    spared_for: Duration = Field(default=timedelta(minutes=10), gt=timedelta(0))

    @model_validator(mode="after")
    def _closes_below_where_it_opens(self) -> Self:
        if self.close_share > self.open_share:
            msg = (
                f"a breaker closes at a share no larger than the one it opens at, "
                f"not at {self.close_share} and {self.open_share}"
            )
            raise ValueError(msg)
        return self


class GroupReach(Message):
    """Number of machines of a group that can be reached.

    Attributes:
        group: `fleet`, `provider P`, `region P/R` or `track T`.
        machines: all machines of the group.
        observed: machines that were reached recently, or were not reached at their last
            observation.
        unreachable: the observed machines that were not reached.
        locked_out: those of them that answered, but locked the control plane out.
        locked_out_by: the kinds of their faults.
    """

    group: str
    machines: int = Field(ge=0)
    observed: int = Field(ge=0)
    unreachable: int = Field(ge=0)
    locked_out: int = Field(default=0, ge=0)
    locked_out_by: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        counts = (self.locked_out, self.unreachable, self.observed, self.machines)
        if list(counts) != sorted(counts):
            msg = f"{self.group}: {' of '.join(map(str, counts))}"
            raise ValueError(msg)
        return self


class BreakerIncident(Message):
    """Why the breaker is open: one incident for all affected groups and machines.

    Attributes:
        opened_at: when the breaker opened; identifies the incident.
        last_observed_at: when the cause was last observed.
        groups: each group that had too many unreachable machines during the incident, with its
            worst counts.
        connectivity: the last failed connectivity checks of a time of the incident in which none
            succeeded.
        offline: none succeeded when they were last made.
        summary: one sentence for a person.
        to_do: what a person can do; empty if only waiting helps.
        locks_out: most of the unreachable machines of a group answer, but keep the control plane
            out: its own key, secret or rule is wrong.
    """

    opened_at: AwareDatetime
    last_observed_at: AwareDatetime
    groups: tuple[GroupReach, ...] = ()
    connectivity: tuple[ConnectivityResult, ...] = ()
    offline: bool = False
    summary: str
    to_do: str = ""
    locks_out: bool = False


class Breaker(Message):
    """The state of the breaker.

    Attributes:
        incident: why it is open; None while it is closed.
        calm_since: since when the cause of the incident is no longer observed.
        unknown: groups in which nothing is destroyed until more of their machines are observed.
    """

    incident: BreakerIncident | None = None
    calm_since: AwareDatetime | None = None
    unknown: tuple[GroupReach, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether nothing at all may be destroyed."""
        return self.incident is not None
