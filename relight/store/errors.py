"""Errors of the store. Where one is raised, nothing was written."""

from relight.domain.fault.error import DomainError
from relight.domain.rollout.rollout import Rollout


class StoreError(DomainError):
    """The store refused a request."""

    kind = "fleet-refused"


class UnknownTrackError(StoreError):
    """There is no such track."""

    kind = "unknown-track"


class UnknownRouteError(StoreError):
    """There is no such route."""

    kind = "unknown-route"


class RouteOccupiedError(StoreError):
    """The route already has a machine, or another operation has its lock."""

    kind = "route-occupied"


class ScopeBusyError(StoreError):
    """Another rollout holds the scope, or one that overlaps it.

    Attributes:
        holder: that rollout.
    """

    kind = "scope-busy"

    def __init__(self, message: str, holder: Rollout) -> None:
        super().__init__(message)
        self.holder = holder


class UnknownMachineError(StoreError):
    """No machine was ever planned under this key."""

    kind = "unknown-machine"


class WrongMachineError(StoreError):
    """The machine cannot serve the route: it is destroyed or draining, or belongs elsewhere."""

    kind = "wrong-machine"


class RotationBusyError(StoreError):
    """The rotation of a key to another one is not finished."""

    kind = "key-rotation-busy"


class ImageConflictError(StoreError):
    """Another build of an image is on record under its name."""

    kind = "image-conflict"


class UnknownImageError(StoreError):
    """The image is not on record, or not in the region."""

    kind = "unknown-image"


class UnknownSettingError(StoreError):
    """There is no setting of this name."""

    kind = "unknown-setting"


class BadValueError(StoreError):
    """A given or stored value is invalid."""

    kind = "bad-value"


class BadStoreUrlError(StoreError):
    """The store's URL is malformed or names an unsupported database."""

    kind = "bad-store-url"


class StoreUnreachableError(StoreError):
    """The database does not answer, or its file cannot be used."""

    kind = "store-unreachable"


class StoreTooOldError(StoreError):
    """The store has no tables yet, or those of an older version of Relight."""

    kind = "store-too-old"


class StoreTooNewError(StoreError):
    """The store's tables were made by a newer version of Relight."""

    kind = "store-too-new"
