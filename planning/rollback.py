"""Which release a route goes back to."""

from collections.abc import Sequence

from messages.errors import DomainError
from messages.names import ReleaseTag, RouteId


class NoReleaseBeforeError(DomainError):
    """The route was never proven at any other release than the one to go back from."""

    kind = "no-release-before"


def release_before(
    route_id: RouteId, target: ReleaseTag | None, proven: Sequence[ReleaseTag]
) -> ReleaseTag:
    """Return the last release that the route was proven at, other than its target.

    A route that failed on its way to its target goes back to what it ran; one that arrived goes
    back to what it ran before.

    Args:
        route_id: the route.
        target: what it should run now: what is gone back from.
        proven: every release that it was proven at, the last one last.

    Raises:
        NoReleaseBeforeError: there is none.
    """
    for tag in reversed(proven):
        if tag != target:
            return tag
    msg = f"route {route_id} was never proven at another release than {target}: where to go back?"
    raise NoReleaseBeforeError(msg)
