"""Which fleet a store and a Temporal namespace belong to, and whether they belong together.

Relight locks by workflow ids, so one store works with one Temporal namespace, and the reverse. Each
keeps a note of the other: the store the id of the namespace, the namespace the id of the fleet.
"""

from enum import StrEnum

from relight.domain.base import Message


class StoreIdentity(Message):
    """What a store says.

    Attributes:
        fleet_id: of the fleet, 16 random hexadecimal digits; made with the store, never changed.
        namespace_id: Temporal's own id of the namespace that it works with; None before the first.
    """

    fleet_id: str
    namespace_id: str | None = None


class NamespaceIdentity(Message):
    """What a Temporal namespace says.

    Attributes:
        namespace_id: Temporal's own id of it, which no other server has.
        fleet_id: of the fleet that it belongs to; None if it belongs to none yet.
    """

    namespace_id: str
    fleet_id: str | None = None


class Agreement(StrEnum):
    """Whether a store and a namespace belong together."""

    AGREED = "agreed"
    OTHER_FLEET = "other fleet"
    OTHER_TEMPORAL = "other temporal"
    UNCLAIMED = "unclaimed"


def agreement(store: StoreIdentity, namespace: NamespaceIdentity) -> Agreement:
    """Return whether a store and a namespace belong together.

    `OTHER_FLEET`: the namespace belongs to another fleet. `OTHER_TEMPORAL`: the store works with
    another namespace. `UNCLAIMED`: nothing speaks against it, and the namespace belongs to none.
    """
    if namespace.fleet_id not in {None, store.fleet_id}:
        return Agreement.OTHER_FLEET
    # None with the same fleet id: a backup from before they were joined was restored.
    if store.namespace_id not in {None, namespace.namespace_id}:
        return Agreement.OTHER_TEMPORAL
    return Agreement.UNCLAIMED if namespace.fleet_id is None else Agreement.AGREED
