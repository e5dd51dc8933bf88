"""What is done to a package and its service on a machine."""

from datetime import timedelta

from messages.base import Message, Origin
from messages.machine import Machine
from messages.names import RouteId
from messages.proof import Proof
from messages.release import Release


class SwapReleaseInput(Message):
    """Bring the machine to exactly this release's version, in a detached transaction, and prove it.

    Attributes:
        route_id: the route that the machine serves or will serve, None for one of the pool.
        allow_downgrade: whether it may take the place of a newer version.
        rollout: the workflow id of the rollout that asks, None for an operator's own swap.
    """

    route_id: RouteId | None
    machine: Machine
    release: Release
    origin: Origin
    allow_downgrade: bool = False
    rollout: str | None = None


class ReleaseSwapped(Message):
    """The machine was changed, and proven.

    Attributes:
        unit: the transient systemd unit on the host that did it.
        attached: an earlier attempt had begun it already, this one only waited for it.
        took: from the unit's start to its end, by the host's clock.
    """

    unit: str
    attached: bool
    took: timedelta
    proof: Proof


class ProveReleaseInput(Message):
    """Look at the machine until it has been seen to run the release for long enough.

    Attributes:
        rollout: the workflow id of the rollout that asks, None for nobody's.
    """

    machine: Machine
    release: Release
    rollout: str | None = None
