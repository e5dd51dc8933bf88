"""Why the store refused. Nothing was written."""

from messages.rollout import Rollout


class FleetError(Exception):
    """The store refused what was asked.

    Attributes:
        kind: kebab-case, as in `unknown-route`.
    """

    kind = "fleet-refused"


class UnknownTrackError(FleetError):
    """There is no such track."""

    kind = "unknown-track"


class UnknownRouteError(FleetError):
    """There is no such route."""

    kind = "unknown-route"


class RouteOccupiedError(FleetError):
    """The route has a machine already."""

    kind = "route-occupied"


class ScopeBusyError(FleetError):
    """Another rollout moves the scope, or one that overlaps it.

    Attributes:
        holder: that rollout.
    """

    kind = "scope-busy"

    def __init__(self, message: str, holder: Rollout) -> None:
        super().__init__(message)
        self.holder = holder
