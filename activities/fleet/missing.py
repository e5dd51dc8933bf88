"""Machines that the listings of their providers lack: since when, and whether they are gone.

One listing is no evidence. A machine is gone if the listings lacked it for a while, its provider
finds it neither by its key nor by its id, and no host answers for it.
"""

import asyncio
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import NamedTuple

from activities.machine.presence import Presence
from relight.domain.machine import Machine
from relight.domain.names import RouteId
from relight.domain.pool.pool import PoolMachine
from relight.domain.reconcile.builder import FleetView, history_of
from relight.domain.remediation import ReplacementPolicy, is_missing
from relight.domain.route import Route
from relight.domain.route_history import RouteHistory
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import ProviderError

MAX_SEARCHED = 20
"""How many machines are searched in one run. The breaker counts those that are missing as
unreachable, so it is open if there are many."""


class Searched(NamedTuple):
    """The result of a search.

    Attributes:
        histories: of all routes; those whose machine is gone say so.
        there: the routes whose machine exists, each with None: it is not gone.
    """

    histories: Mapping[RouteId, RouteHistory]
    there: Mapping[RouteId, None]


async def search_missing(
    presence: Presence,
    view: FleetView,
    first_missed: Set[RouteId],
    policy: ReplacementPolicy,
) -> Searched:
    """Search the machine of each route that listings have lacked for long.

    Args:
        presence: searches one machine.
        view: the fleet.
        first_missed: routes that this observation is the first to miss: one listing is no evidence.
        policy: for how long listings must have lacked a machine.
    """
    now = datetime.now(UTC)
    missing = [
        (route, route.machine)
        for route in view.routes
        if route.machine is not None
        and route.route_id not in view.busy
        and route.route_id not in first_missed
        and is_missing(history_of(route, view.histories), policy, now)
    ][:MAX_SEARCHED]
    absent = await asyncio.gather(*(_is_absent(presence, machine) for _, machine in missing))
    histories = dict(view.histories)
    there: dict[RouteId, None] = {}
    for (route, _), gone in zip(missing, absent, strict=True):
        known = histories[route.route_id]
        if gone:
            histories[route.route_id] = known.model_copy(update={"absent": True})
        elif gone is False:
            histories[route.route_id] = known.model_copy(update={"gone_since": None})
            there[route.route_id] = None
    return Searched(histories, there)


async def _is_absent(presence: Presence, machine: Machine) -> bool | None:
    """Return whether a machine is gone; None if its provider does not say."""
    try:
        return await presence.is_absent(machine)
    except ProviderError:
        return None


def gone_routes(
    routes: Sequence[Route],
    listings: Sequence[ProviderListing],
    histories: Mapping[RouteId, RouteHistory],
    busy: Set[RouteId],
    now: datetime,
) -> Mapping[RouteId, datetime | None]:
    """Return changes: since when listings lack a route's machine, or None where they have it again.

    Args:
        routes: the whole fleet.
        listings: of the providers that answered.
        histories: what is known so far.
        busy: routes with an operation in progress are left out.
        now: the current time, with its time zone.
    """
    changes: dict[RouteId, datetime | None] = {}
    complete = _complete(listings)
    for route in routes:
        listing = complete.get(route.provider)
        if listing is None or route.machine is None or route.route_id in busy:
            continue
        history = histories.get(route.route_id)
        since = history.gone_since if history else None
        if listing.has(route.machine.key, route.machine.provider_id):
            if since is not None:
                changes[route.route_id] = None
        elif route.proven_at is None or route.proven_at < listing.asked_at:
            # A proof after `since` shows that the machine was there again in between.
            outdated = (
                since is not None and route.proven_at is not None and route.proven_at >= since
            )
            if since is None or outdated:
                changes[route.route_id] = now
    return changes


def gone_pool_machines(
    pool: Sequence[PoolMachine], listings: Sequence[ProviderListing], now: datetime
) -> Mapping[str, datetime | None]:
    """Return the same changes of pool machines, by key."""
    changes: dict[str, datetime | None] = {}
    complete = _complete(listings)
    for machine in pool:
        listing = complete.get(machine.provider)
        if listing is None:
            continue
        if listing.has(machine.key):
            if machine.gone_since is not None:
                changes[machine.key] = None
        elif machine.gone_since is None or machine.gone_since > now:
            changes[machine.key] = now
    return changes


class _Listed(NamedTuple):
    """The keys and ids in a complete listing, and when it began."""

    keys: frozenset[str]
    ids: frozenset[str]
    asked_at: datetime

    def has(self, key: str, provider_id: str | None = None) -> bool:
        """Return whether a machine is listed. One that somebody relabelled has its id still."""
        return key in self.keys or provider_id in self.ids


def _complete(listings: Sequence[ProviderListing]) -> Mapping[str, _Listed]:
    return {
        each.provider: _Listed(
            keys=frozenset(machine.key for machine in each.machines),
            ids=frozenset(machine.provider_id for machine in each.machines),
            asked_at=each.asked_at,
        )
        for each in listings
        if each.complete
    }
