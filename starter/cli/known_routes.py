"""Routes as commands show them: what each is known to run now, and since when."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relight.domain.duration import span
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.route import Route
from relight.domain.route_state import KnownState, RouteEvidence, RouteState, known_state
from relight.settings import load_settings
from starter.cli.output import print_line

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.store.store import Store

_NOTHING = RouteEvidence()


@dataclass(frozen=True)
class KnownRoutes:
    """Routes, and what is known of each now.

    Attributes:
        routes: by id, in this order.
        states: by route.
        evidence: what they follow from beside the routes' own records.
        now: the time of the states.
    """

    routes: Sequence[Route]
    states: Mapping[RouteId, KnownState]
    evidence: Mapping[RouteId, RouteEvidence]
    now: datetime

    def of(self, route: Route) -> KnownState:
        """Return what is known of a route."""
        return self.states[route.route_id]

    def proven(self) -> Mapping[ReleaseTag, int]:
        """Return how many routes are known to run each release now."""
        known = Counter(each.release_tag for each in self.states.values() if each.release_tag)
        return dict(sorted(known.items()))

    def others(self) -> Mapping[str, int]:
        """Return how many routes are in each state in which they are not known to run a release."""
        states = Counter(each.state.value for each in self.states.values() if not each.release_tag)
        return dict(sorted(states.items()))

    def as_json(self) -> list[dict[str, Any]]:
        """Return the routes for JSON: each with its state now, not the recorded one."""
        return [
            {
                **dict(route),
                "status": self.of(route).state,
                "since": self.of(route).since,
                "known_release_tag": self.of(route).release_tag,
            }
            for route in self.routes
        ]


def known_routes(store: "Store", routes: Sequence[Route]) -> KnownRoutes:
    """Return what is known of routes now."""
    evidence, policy = store.route_evidence.all(), load_settings().reconcile
    now = datetime.now(UTC)
    states = {
        route.route_id: known_state(route, evidence.get(route.route_id, _NOTHING), policy, now)
        for route in routes
    }
    return KnownRoutes(routes, states, evidence, now)


def print_states(known: KnownRoutes) -> None:
    """Print why routes are not known to run anything: a line for each, and one for old proofs."""
    stale = 0
    for route in known.routes:
        state, since, _ = known.of(route)
        stale += state is RouteState.STALE
        evidence = known.evidence.get(route.route_id, _NOTHING)
        key = route.machine.key if route.machine else "its machine"
        verify = f"`relight route verify {route.route_id}` tries a login now"
        if state is RouteState.UNREACHABLE and since == evidence.silent_since and since:
            last = f"{evidence.answered_at:%m-%d %H:%M}" if evidence.answered_at else "never"
            print_line(
                f"{route.route_id} unreachable since {since:%m-%d %H:%M:%S} UTC: {key} does not "
                f"answer on its SSH port (last answer on record: {last}); {verify}"
            )
        elif state is RouteState.GONE and since:
            print_line(
                f"{route.route_id} gone since {since:%m-%d %H:%M:%S} UTC: its provider does not "
                f"have {key}; {verify}"
            )
        elif state is RouteState.UNKNOWN and route.newer_version is not None:
            print_line(
                f"{route.route_id} unknown: its host runs {route.newer_version}, newer than any on "
                "record; `relight store check` compares the records"
            )
    if stale:
        limit = span(load_settings().reconcile.proof_lasts)
        print_line(
            f"{stale} stale: the last proof is older than {limit} "
            "(RELIGHT_RECONCILE__PROOF_LASTS); `relight reconcile` verifies them"
        )
