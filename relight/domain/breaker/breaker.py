"""The breaker: what was seen of the fleet at large, and whether machines may be destroyed."""

from datetime import timedelta
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from relight.domain.base import Message
from relight.domain.hold import RequiredText
from relight.domain.names import TrackName


class MachineObservation(Message):
    """The last look at a machine, by its route's operations or at its provider.

    Attributes:
        key: the machine's.
        track: its route's; None for one in the pool.
        observed_at: when somebody looked last; None where nobody did.
        reached: whether it let the control plane in and work there.
    """

    key: str
    provider: str
    region: str
    track: TrackName | None = None
    observed_at: AwareDatetime | None = None
    reached: bool = False


class ConnectivityResult(Message):
    """A look at a place that is known to be up: can the control plane reach anything at all?

    Attributes:
        name: what was asked, as in `https://deb.debian.org`.
        observed_at: when.
        reached: whether it answered.
        answer: what came back, for a person.
    """

    name: str
    observed_at: AwareDatetime
    reached: bool
    answer: str = ""


class Destruction(Message):
    """A machine that was destroyed, or is about to be.

    Attributes:
        at: when it was asked for.
        track: its route's; None for one in the pool.
        unreachable: it was destroyed because nobody reached it: this speaks of its place still.
    """

    at: AwareDatetime
    provider: str
    region: str
    track: TrackName | None = None
    unreachable: bool = False


class BreakerLimits(Message):
    """When the breaker opens, when it closes again, and how much is destroyed while it is closed.

    Attributes:
        open_share: it opens where more than this share of a group cannot be reached; 0 to 1.
        close_share: a group that it opened for is calm again from this share down.
        min_unreachable: how many machines of a group that takes at the least: one alone is a host's
            fault, whatever share of its group it is.
        calm_for: how long all has to be calm before it closes.
        observation_lasts: how long a machine that was reached counts as one that can be.
        connectivity_lasts: how long a look at a witness does.
        remembered_for: how long a machine that was destroyed because nobody reached it counts as
            one that is not reached.
        destroyed_per_hour: how many machines are destroyed in any hour.
        destroyed_per_hour_in_region: how many of one region of a provider are.
    """

    open_share: float = Field(default=0.2, gt=0, lt=1)
    close_share: float = Field(default=0.1, ge=0, lt=1)
    min_unreachable: int = Field(default=2, ge=2)
    calm_for: timedelta = Field(default=timedelta(minutes=15), ge=timedelta(0))
    observation_lasts: timedelta = Field(default=timedelta(minutes=20), gt=timedelta(0))
    connectivity_lasts: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))
    remembered_for: timedelta = Field(default=timedelta(hours=1), ge=timedelta(0))
    destroyed_per_hour: int = Field(default=10, ge=0)
    destroyed_per_hour_in_region: int = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _closes_below_where_it_opens(self) -> Self:
        if self.close_share > self.open_share:
            msg = (
                f"a breaker closes at a share no larger than the one it opens at, "
                f"not at {self.close_share} and {self.open_share}"
            )
            raise ValueError(msg)
        return self


class BreakerOverride(Message):
    """Somebody knows that a group's machines are gone for good: they may be replaced.

    It makes the breaker blind for one group, until a day that somebody has set. Nothing overrides
    the witness, nor the hourly limits.

    Attributes:
        group: as the breaker names it: `fleet`, `provider P`, `region P/R`, `track T`.
        owner: who is to be asked.
        expires_at: the first instant at which it no longer holds.
    """

    group: RequiredText
    owner: RequiredText
    reason: RequiredText
    expires_at: AwareDatetime


class GroupReach(Message):
    """How many of a group's machines can be reached.

    Attributes:
        group: `fleet`, `provider P`, `region P/R` or `track T`.
        machines: all of them.
        observed: those that were reached lately, or were not reached at the last look.
        unreachable: those of these that were not reached.
    """

    group: str
    machines: int = Field(ge=0)
    observed: int = Field(ge=0)
    unreachable: int = Field(ge=0)

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        if not self.unreachable <= self.observed <= self.machines:
            msg = f"{self.group}: {self.unreachable} of {self.observed} of {self.machines}"
            raise ValueError(msg)
        return self


class BreakerIncident(Message):
    """Why nothing is destroyed: one incident, however many groups and machines it is about.

    Attributes:
        opened_at: when the breaker opened; this names the incident.
        last_observed_at: when it was last seen to go on.
        groups: each group that had too many machines out of reach at some time of it, at its worst.
        witnesses: what was asked and did not answer, when no witness was reached.
        summary: what was seen, in one sentence for a person.
    """

    opened_at: AwareDatetime
    last_observed_at: AwareDatetime
    groups: tuple[GroupReach, ...] = ()
    connectivity: tuple[ConnectivityResult, ...] = ()
    summary: str


class Breaker(Message):
    """Where the breaker stands.

    Attributes:
        incident: why it is open; None while it is closed.
        calm_since: since when nothing of the incident is seen any more.
        unsure: groups in which nothing is destroyed until more of their machines were looked at.
    """

    incident: BreakerIncident | None = None
    calm_since: AwareDatetime | None = None
    unknown: tuple[GroupReach, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether nothing at all may be destroyed."""
        return self.incident is not None
