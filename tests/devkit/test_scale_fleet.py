"""The simulated fleet: everything follows from the number, and the store accepts its rows."""

import pytest

from devkit.bench.scale.fleet import (
    MAX_ROUTES,
    PROVIDERS,
    REGIONS,
    TRACKS,
    Progress,
    SimulatedRoute,
    at_address,
    fill,
)
from relight.domain.names import FLEET_SCOPE
from relight.store.store import open_store


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'fleet.db'}"


@pytest.mark.parametrize("number", [0, 254, 255, 9_999, MAX_ROUTES - 1])
def test_a_route_is_found_by_its_address(number):
    route = SimulatedRoute(number)
    assert route.address.startswith("127.1.")
    assert at_address(route.address) == route


def test_the_store_has_every_route_in_scope_with_a_proven_machine(url):
    fill(url, 60, "0.0.73", "amd64")
    with open_store(url) as store:
        routes = store.routes.list()
        in_scope = {route.route_id for route in store.routes.in_scope(FLEET_SCOPE)}
        proven = store.routes.proven_tags(routes[0].route_id)
    assert len(routes) == 60
    assert in_scope == {route.route_id for route in routes}
    assert {route.provider for route in routes} == set(PROVIDERS)
    assert {route.track for route in routes} == set(TRACKS)
    assert len({route.region for route in routes}) == len(PROVIDERS) * REGIONS
    assert {route.current_release_tag for route in routes} == {"v0.0.73"}
    machine = routes[7].machine
    assert machine is not None
    assert (machine.key, machine.address) == ("scale-00007-g1", "127.1.0.8")
    assert proven == ["v0.0.73"]


def test_progress_counts_routes_proven_at_a_release(url):
    fill(url, 3, "0.0.73", "amd64")
    progress = Progress(url)
    assert (progress.proven_at("v0.0.73"), progress.proven_at("v0.0.74")) == (3, 0)
    assert progress.faults(limit=3) == []
    progress.close()
