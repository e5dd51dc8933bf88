"""The comparison of the records with providers: its messages stay small."""

from datetime import UTC, datetime

from activities.fleet.comparison import MAX_OTHERS, MAX_ROUTES_WITH_NEWER, bounded
from relight.domain.comparison import Comparison, RouteToCompare, Verdict
from relight.domain.machine import MachineAtProvider, MachineStatus

MAX_MESSAGE_BYTES = 2 * 1024 * 1024


def machine(key: str) -> MachineAtProvider:
    return MachineAtProvider(
        key=key,
        provider="linode",
        region="eu-central",
        provider_id="i" * 40,
        address="2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        architecture="amd64",
        status=MachineStatus.RUNNING,
        owner="relight",
        generation=7,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )


def test_ten_thousand_routes_with_newer_machines_fit_into_a_message_and_the_rest_is_told():
    routes = [
        RouteToCompare(
            route_id=f"r-{number}-{'x' * 30}",
            newer=tuple(machine(f"r-{number}-{'x' * 30}-g{at}") for at in (3, 2)),
            listed=True,
        )
        for number in range(10_000)
    ]
    others = [
        Comparison(about=f"machine {n}", verdict=Verdict.RECORD_BEHIND, reason="x" * 250)
        for n in range(10_000)
    ]
    compared = bounded(routes, others, ["gcore: no answer"])
    assert len(compared.model_dump_json()) < MAX_MESSAGE_BYTES
    assert len(compared.routes) == MAX_ROUTES_WITH_NEWER
    first, more = compared.unobserved
    left_out = len(routes) - MAX_ROUTES_WITH_NEWER + len(others) - MAX_OTHERS
    assert (first, more.split()[0]) == ("gcore: no answer", str(left_out))


def test_a_fleet_that_agrees_is_whole():
    routes = [RouteToCompare(route_id=f"r-{number}", listed=True) for number in range(10_000)]
    compared = bounded(routes, [], [])
    assert (len(compared.routes), compared.unobserved) == (10_000, ())
    assert len(compared.model_dump_json()) < MAX_MESSAGE_BYTES
