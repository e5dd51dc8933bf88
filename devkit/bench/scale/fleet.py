"""The simulated fleet: routes number 0, 1, 2..., their names, locations and addresses.

Everything is derived from the number, so the store and the hosts' process agree without messages.
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
from relight.store.events import Operation
from relight.store.routes import ROUTE_PROVEN
from relight.store.store import open_upgraded_store
from relight.store.tables import (
    EventRow,
    MachineRow,
    RecordStatus,
    RouteRow,
    Row,
)

ORIGIN = Origin(requested_by="bench", reason="benchmark")

PROVIDERS = ("linode", "oci", "alicloud", "gcore")
REGIONS = 5
"""The number of regions of each provider."""

TRACKS = ("stable", "beta", "staff")
"""No track has a release override, so every route is in the scope of the fleet."""

MAX_ROUTES = 60_000

# A loopback address far from 127.0.0.1, where other programs listen.
_FIRST_ADDRESS = ipaddress.IPv4Address("127.1.0.1")


@dataclass(frozen=True)
class SimulatedRoute:
    """One route of the fleet and its machine."""

    number: int

    @property
    def route_id(self) -> RouteId:
        """The route id."""
        return f"scale-{self.number:05}"

    @property
    def machine_key(self) -> str:
        """The machine key."""
        return machine_key(self.route_id, 1)

    @property
    def address(self) -> str:
        """The machine's address."""
        return str(_FIRST_ADDRESS + self.number)

    @property
    def provider(self) -> str:
        """The machine's provider."""
        return PROVIDERS[self.number % len(PROVIDERS)]

    @property
    def region(self) -> str:
        """The machine's region."""
        return f"{self.provider}-{self.number // len(PROVIDERS) % REGIONS + 1}"

    @property
    def track(self) -> str:
        """The track."""
        return TRACKS[self.number % len(TRACKS)]


def at_address(address: str) -> SimulatedRoute:
    """Return the route whose machine has an address; its number may be outside of the fleet."""
    return SimulatedRoute(int(ipaddress.IPv4Address(address)) - int(_FIRST_ADDRESS))


def fill(store_url: str, routes: int, version: str, architecture: str) -> None:
    """Fill a new store with routes that serve, each proven at a version.

    The rows are inserted directly: the store's own writes would take as long as a rollout.

    Args:
        store_url: the URL of the store.
        routes: the number of routes.
        version: the Debian version that they run.
        architecture: of their machines.
    """
    tag, operation = f"v{version}", Operation(ORIGIN)
    with open_upgraded_store(store_url) as store:
        store.fleet_settings.set(DEFAULT_RELEASE_SETTING, tag, operation)
        for track in TRACKS:
            store.tracks.set(track, None, operation)
    at = datetime.now(UTC)
    fleet = [SimulatedRoute(number) for number in range(routes)]
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
    """Progress of a rollout, read from the store, so that it costs the worker nothing."""

    def __init__(self, store_url: str) -> None:
        self._database = Database(parse_url(store_url))

    def proven_at(self, tag: str) -> int:
        """Return the number of routes that serve and are proven at a release."""
        query = select(func.count(col(RouteRow.route_id))).where(
            RouteRow.current_release_tag == tag, RouteRow.status == RouteStatus.SERVING
        )
        with self._database.reading() as session:
            return session.exec(query).one()

    def faults(self, limit: int) -> list[Mapping[str, Any]]:
        """Return the faults of at most `limit` faulted routes."""
        query = select(RouteRow.fault).where(RouteRow.status == RouteStatus.FAULTED)
        with self._database.reading() as session:
            return [fault for fault in session.exec(query.limit(limit)) if fault]

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def _route_row(route: SimulatedRoute, tag: str, at: datetime) -> dict[str, Any]:
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


def _machine_row(route: SimulatedRoute, architecture: str, at: datetime) -> dict[str, Any]:
    return {
        "key": route.machine_key,
        "route_id": route.route_id,
        "generation": 1,
        "provider": route.provider,
        "provider_id": f"simulated-{route.number}",
        "region": route.region,
        "architecture": architecture,
        "address": route.address,
        "status": RecordStatus.RUNNING,
        "created_at": at,
        "planned_run_id": "",
        "held_run_id": "",
    }


def _proven_row(route: SimulatedRoute, version: str, at: datetime) -> dict[str, Any]:
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
