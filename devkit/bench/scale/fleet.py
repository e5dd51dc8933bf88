"""The fleet that is played: route number 0, 1, 2..., and what each is called and where it stands.

All of it follows from the number, so the store and the hosts' process need not tell each other.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert
from sqlmodel import col, func, select

from relight.domain.base import Origin
from relight.domain.names import (
    DEFAULT_RELEASE_SETTING,
    RouteId,
    machine_key,
)
from relight.domain.proof import Proof
from relight.domain.route import RouteStatus
from relight.store.database import Database, parse_url
from relight.store.machines import RecordStatus
from relight.store.routes import ROUTE_PROVEN
from relight.store.store import open_store
from relight.store.tables import (
    EventRow,
    MachineRow,
    RouteRow,
    Row,
)
from relight.store.write import Operation

ORIGIN = Origin(requested_by="bench", reason="to be measured")

PROVIDERS = ("linode", "oci", "alicloud", "gcore")
REGIONS = 5
"""Of each provider."""

TRACKS = ("stable", "beta", "staff")
"""None has a release of its own, so all of them are in the scope of the fleet."""

MOST_ROUTES = 60_000

# In loopback, and not where anything else listens by habit.
_FIRST_ADDRESS = ipaddress.IPv4Address("127.1.0.1")


@dataclass(frozen=True)
class PlayedRoute:
    """One route of the fleet, and its machine."""

    number: int

    @property
    def route_id(self) -> RouteId:
        """Its id."""
        return f"scale-{self.number:05}"

    @property
    def machine_key(self) -> str:
        """Its machine's key."""
        return machine_key(self.route_id, 1)

    @property
    def address(self) -> str:
        """Its machine's address."""
        return str(_FIRST_ADDRESS + self.number)

    @property
    def provider(self) -> str:
        """Whose machine it is."""
        return PROVIDERS[self.number % len(PROVIDERS)]

    @property
    def region(self) -> str:
        """Where it stands."""
        return f"{self.provider}-{self.number // len(PROVIDERS) % REGIONS + 1}"

    @property
    def track(self) -> str:
        """Its track."""
        return TRACKS[self.number % len(TRACKS)]


def at_address(address: str) -> PlayedRoute:
    """Return the route whose machine has an address; whether there is one is for others to say."""
    return PlayedRoute(int(ipaddress.IPv4Address(address)) - int(_FIRST_ADDRESS))


def fill(store_url: str, routes: int, version: str, architecture: str) -> None:
    """Have a new store say that so many routes serve, each proven at a version.

    Through the store's own writes this would be as long as a rollout; so the rows that those leave
    are put there at once.

    Args:
        store_url: where the store is.
        routes: how many.
        version: the Debian version that they run.
        architecture: of their machines.
    """
    tag, operation = f"v{version}", Operation(ORIGIN)
    with open_store(store_url) as store:
        store.settings.set(DEFAULT_RELEASE_SETTING, tag, operation)
        for track in TRACKS:
            store.tracks.set(track, None, operation)
    at = datetime.now(UTC)
    fleet = [PlayedRoute(number) for number in range(routes)]
    rows: dict[type[Row], Iterator[dict[str, Any]]] = {
        RouteRow: (_route_row(route, tag, at) for route in fleet),
        MachineRow: (_machine_row(route, architecture, at) for route in fleet),
        EventRow: (_proven_row(route, version, at) for route in fleet),
    }
    database = Database(parse_url(store_url))
    try:
        with database.writing() as session:
            for table, values in rows.items():
                session.connection().execute(insert(table), list(values))
    finally:
        database.close()


class Progress:
    """How far a rollout has come by the store's word, which costs no worker anything."""

    def __init__(self, store_url: str) -> None:
        self._database = Database(parse_url(store_url))

    def proven_at(self, tag: str) -> int:
        """Count the routes that serve, proven at a release."""
        query = select(func.count(col(RouteRow.route_id))).where(
            RouteRow.current_release_tag == tag, RouteRow.status == RouteStatus.SERVING
        )
        with self._database.reading() as session:
            return session.exec(query).one()

    def faults(self, at_most: int) -> list[Mapping[str, Any]]:
        """Return what stands in the way of routes that are not served."""
        query = select(RouteRow.fault).where(RouteRow.status == RouteStatus.FAULTED)
        with self._database.reading() as session:
            return [fault for fault in session.exec(query.limit(at_most)) if fault]

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def _route_row(route: PlayedRoute, tag: str, at: datetime) -> dict[str, Any]:
    return {
        "route_id": route.route_id,
        "track": route.track,
        "provider": route.provider,
        "region": route.region,
        "status": RouteStatus.SERVING,
        "target_release_tag": tag,
        "current_release_tag": tag,
        "proven_at": at,
        "machine_key": route.machine_key,
    }


def _machine_row(route: PlayedRoute, architecture: str, at: datetime) -> dict[str, Any]:
    return {
        "key": route.machine_key,
        "route_id": route.route_id,
        "generation": 1,
        "provider": route.provider,
        "provider_id": f"played-{route.number}",
        "region": route.region,
        "architecture": architecture,
        "address": route.address,
        "status": RecordStatus.RUNNING,
        "created_at": at,
        "planned_run_id": "",
        "held_run_id": "",
    }


def _proven_row(route: PlayedRoute, version: str, at: datetime) -> dict[str, Any]:
    proof = Proof(
        release_tag=f"v{version}",
        version=version,
        executable="/usr/bin/lantern-box",
        invocation_id=f"{0:032x}",
        restarts=0,
        stable_for=timedelta(0),
        probe=f"GET http://{route.address}/healthz: 200",
        observed_at=at,
    )
    return {
        "at": at,
        "kind": ROUTE_PROVEN,
        "requested_by": ORIGIN.requested_by,
        "reason": ORIGIN.reason,
        "workflow_id": f"route/{route.route_id}",
        "run_id": "",
        "activity_id": "",
        "route_id": route.route_id,
        "machine_key": route.machine_key,
        "release_tag": proof.release_tag,
        "detail": {"proof": proof.model_dump(mode="json"), "previous": None},
    }
