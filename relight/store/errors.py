"""Why the store refused. Nothing was written."""

from relight.domain.fault.error import DomainError
from relight.domain.rollout.rollout import Rollout


class FleetError(DomainError):
    """The store refused what was asked."""

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


class UnknownMachineError(FleetError):
    """No machine was ever planned under this key."""

    kind = "unknown-machine"


class WrongMachineError(FleetError):
    """The machine is destroyed, or is another route's: nothing can be said of the route by it."""

    kind = "wrong-machine"


class UnknownSettingError(FleetError):
    """There is no setting of this name."""

    kind = "unknown-setting"


class BadValueError(FleetError):
    """A value is not of the shape that it must have, be it given or found in the store."""

    kind = "bad-value"


class BadStoreUrlError(FleetError):
    """The store's address names no database that it can be kept in."""

    kind = "bad-store-url"


class StoreTooNewError(FleetError):
    """A newer Relight has changed the store's tables: this one does not know them."""

    kind = "store-too-new"
