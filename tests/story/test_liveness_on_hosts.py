"""Dead is not serving: with the default settings, a dead host is shown within two minutes.

Only the liveness check runs by schedule, as after `relight up`: nothing is repaired or replaced.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from lab.names import LabNames
from relight.domain.route_state import NOT_KNOWN
from starter import schedules
from starter.local.children import wait_until
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.support.lab_fleet import LabFleet, lab_fleet

pytestmark = pytest.mark.lab

SHOWN_WITHIN = timedelta(minutes=2)
VERIFIED_WITHIN = timedelta(minutes=2)
"""A verification logs in three times, and each login of a black hole takes ten seconds."""

BLACK_HOLE, HUNG, GONE = "east-stable-1", "east-stable-2", "west-stable-1"

_DROP = """\
nft add table inet hole
nft add chain inet hole in '{ type filter hook input priority 0; policy drop; }'
nft add chain inet hole out '{ type filter hook output priority 0; policy drop; }'
"""
_ADMIT = "nft delete table inet hole"


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabFleet]:
    async with lab_fleet(tmp_path_factory.mktemp("liveness"), tracks=("stable",)) as fleet:
        environment = fleet.environment
        assert environment.client is not None
        applied = await schedules.apply(
            environment.client, environment.settings, only_observing=True
        )
        assert applied.added == ("relight/check-liveness",)

        async def checked() -> bool:
            check = environment.store.liveness.last_check()
            return check is not None and (check.machines, check.silent) == (6, 0)

        await wait_until(checked, SHOWN_WITHIN)
        yield fleet
        events = environment.store.events.list()
        assert {event.kind for event in events}.isdisjoint(
            {"machine-destroyed", "repair-begun", "replacement-begun"}
        )
        home = environment.home
    assert traces(LabNames(lab_name(home)).tag) == []


async def shown(fleet: LabFleet, route_id: str) -> Any:
    """Return a route as `relight fleet status` shows it."""
    status = await fleet.ask("fleet", "status")
    [route] = [each for each in status["routes"] if each["route_id"] == route_id]
    assert (route["status"] in NOT_KNOWN) == (route_id in status["not_known"])
    return route


async def seconds_until(
    fleet: LabFleet, route_id: str, holds: Callable[[Any], bool], within: timedelta
) -> float:
    """Wait until a route is shown so; return how long that took."""
    began = time.monotonic()

    async def is_so() -> bool:
        return holds(await shown(fleet, route_id))

    await wait_until(is_so, within)
    return time.monotonic() - began


async def dies(fleet: LabFleet, route_id: str, kill: Callable[[], Awaitable[object]]) -> None:
    """Check that a host's death is shown in time, and that a login looks at once."""
    assert (await shown(fleet, route_id))["status"] == "proven"
    await kill()
    took = await seconds_until(
        fleet, route_id, lambda route: route["status"] == "unreachable", SHOWN_WITHIN
    )
    print(f"{route_id}: shown as unreachable after {took:.0f} s")  # noqa: T201 - a measurement
    for words in (("fleet", "status"), ("route", "list"), ("route", "show", route_id)):
        assert f"{route_id} unreachable since" in (await fleet.relight(*words)).out
    took = await seconds_until(
        fleet, route_id, lambda route: route["fault"] is not None, VERIFIED_WITHIN
    )
    print(f"{route_id}: verified {took:.0f} s later")  # noqa: T201 - a measurement
    assert (await shown(fleet, route_id))["fault"]["kind"] == "host-unreachable"


async def comes_back(fleet: LabFleet, route_id: str) -> None:
    took = await seconds_until(
        fleet,
        route_id,
        lambda route: route["status"] == "proven",
        SHOWN_WITHIN,
    )
    print(f"{route_id}: proven again after {took:.0f} s")  # noqa: T201 - a measurement


async def test_a_host_in_a_black_hole_is_silent_and_serves_again_when_it_is_back(
    fleet: LabFleet,
) -> None:
    await dies(fleet, BLACK_HOLE, lambda: fleet.on_host(BLACK_HOLE, _DROP))
    others = [each for each in fleet.routes if each != BLACK_HOLE]
    assert {(await shown(fleet, each))["status"] for each in others} == {"proven"}
    await fleet.on_host(BLACK_HOLE, _ADMIT)
    await comes_back(fleet, BLACK_HOLE)


async def test_a_host_whose_sshd_hangs_is_silent_although_its_port_is_open(
    fleet: LabFleet,
) -> None:
    stop = "kill -STOP $(systemctl show --value --property=MainPID ssh)"
    await dies(fleet, HUNG, lambda: fleet.on_host(HUNG, stop))
    await fleet.on_host(HUNG, stop.replace("STOP", "CONT"))
    await comes_back(fleet, HUNG)


async def test_a_machine_that_was_removed_at_its_provider_is_silent(fleet: LabFleet) -> None:
    lab = fleet.environment.lab
    headers = {"Authorization": f"Bearer {lab.token_file.read_text().strip()}"}

    async def remove() -> None:
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            url = f"{lab.url}/v1/machines/{fleet.machine_ids[GONE]}"
            (await http.delete(url)).raise_for_status()

    await dies(fleet, GONE, remove)


async def test_a_command_looks_at_once(fleet: LabFleet) -> None:
    verified = await fleet.ask("route", "verify", "west-stable-2")
    assert verified["status"] == "proven"
    await fleet.on_host("west-stable-2", _DROP)
    ended = await fleet.relight("route", "verify", "west-stable-2")
    assert ended.code == 1
    assert "host-unreachable" in ended.err
    await fleet.on_host("west-stable-2", _ADMIT)
    assert (await fleet.ask("route", "verify", "west-stable-2"))["status"] == "proven"
