"""Parts of reading a fleet: what an invalid record may be about is left alone."""

from collections.abc import Callable, Collection, Mapping, Sequence, Set

from relight.domain.names import FLEET_SCOPE, ScopeName, track_scope
from relight.domain.route import Route
from relight.domain.sweep.sweep import ProviderListing
from relight.domain.track import Track
from relight.store.bad_rows import BadRows
from relight.store.tables import RolloutRow, TrackRow


def without(listing: ProviderListing, keys: Set[str]) -> ProviderListing:
    """Return a listing without the machines of some keys.

    A machine whose record is invalid would look like a machine without a record.
    """
    machines = tuple(machine for machine in listing.machines if machine.key not in keys)
    return listing.model_copy(update={"machines": machines})


def without_unclear(
    routes: Sequence[Route],
    tracks: Sequence[Track],
    bad: BadRows,
    scopes: Callable[[Collection[str]], Mapping[str, ScopeName]],
) -> list[Route]:
    """Return the routes without those of an invalid track, or of an invalid rollout's scope.

    What they should run is unclear.

    Args:
        routes: of the fleet.
        tracks: the valid ones.
        bad: the invalid rows.
        scopes: returns the scopes of rollouts by their ids, where those can be read.
    """
    rollouts = bad.of(RolloutRow)
    if not (rollouts or bad.of(TrackRow)):
        return list(routes)
    known = scopes(rollouts) if rollouts else {}
    if len(known) < len(rollouts):
        return []
    unclear = set(known.values())
    own = {track.name for track in tracks if track.release_override is not None}
    return [
        route
        for route in routes
        if route.track not in bad.of(TrackRow)
        and (track_scope(route.track) if route.track in own else FLEET_SCOPE) not in unclear
    ]
