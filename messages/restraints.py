"""What keeps routes from being changed: freeze windows, exclusions and pins."""

from typing import Annotated, Self

from pydantic import AwareDatetime, StringConstraints, model_validator

from messages.base import Message
from messages.names import ReleaseTag, RouteId, TrackName

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A name or a reason that somebody has to give."""


class Selector(Message):
    """Routes by what they are: those that have all that is named here. Naming nothing means all.

    Attributes:
        region: the provider's name of it; without a provider, the region of any.
    """

    route_id: RouteId | None = None
    provider: str | None = None
    region: str | None = None
    track: TrackName | None = None

    @property
    def means_all(self) -> bool:
        """Whether it names nothing, and so means every route."""
        return not (self.route_id or self.provider or self.region or self.track)


class FreezeWindow(Message):
    """A time in which no route that it covers is taken out; those under way are not stopped.

    Attributes:
        starts_at: its first instant.
        ends_at: the first instant after it.
        owner: who is to be asked.
        covers: the routes that it is about; all, where it says nothing.
    """

    starts_at: AwareDatetime
    ends_at: AwareDatetime
    owner: Said
    reason: Said
    covers: Selector = Selector()

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.ends_at <= self.starts_at:
            msg = (
                f"a freeze window ends after it starts, not from {self.starts_at} to {self.ends_at}"
            )
            raise ValueError(msg)
        return self


class Exclusion(Message):
    """Routes that rollouts leave alone, until a day that somebody has set.

    Attributes:
        covers: the routes that it is about; it has to name some.
        owner: who is to be asked.
        expires_at: the first instant at which it no longer holds.
        pinned_to: makes it a pin: the release that the routes are kept at. A rollout of that very
            release still reaches them. None keeps every release away.
    """

    covers: Selector
    owner: Said
    reason: Said
    expires_at: AwareDatetime
    pinned_to: ReleaseTag | None = None

    @model_validator(mode="after")
    def _names_some_routes(self) -> Self:
        if self.covers.means_all:
            msg = "an exclusion names a route, provider, region or track: to stop all, freeze"
            raise ValueError(msg)
        return self
