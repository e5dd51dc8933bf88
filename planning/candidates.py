"""What planning asks of a route. A `Route` answers it, and so does less than that.

A plan is made over a whole fleet, and a fleet of whole routes is large.
"""

from typing import Protocol

from messages.names import RouteId, TrackName
from messages.route import RouteStatus


class Placed(Protocol):
    """What has a place in a fleet."""

    @property
    def route_id(self) -> RouteId:
        """Its id."""

    @property
    def track(self) -> TrackName:
        """Its track."""

    @property
    def provider(self) -> str:
        """Whose machine serves it."""

    @property
    def region(self) -> str:
        """Where that stands."""


class Candidate(Placed, Protocol):
    """A route that may be put into a wave."""

    @property
    def status(self) -> RouteStatus:
        """Where it is in its life."""

    @property
    def architecture(self) -> str | None:
        """Its machine's, by Debian's name; None where it has no machine."""
