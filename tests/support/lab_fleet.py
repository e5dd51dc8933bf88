"""Routes on real hosts, commanded as their operator does, and what is true of each."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from devkit.chaos.world import World, world
from lab import image, packages, repository
from lab.packages import Build
from lab.repository import SigningKey
from relight.domain.event import Event
from relight.domain.names import (
    machine_key,
    rollout_workflow_id,
    route_workflow_id,
)
from relight.domain.rollout.rollout import RolloutStatus, RouteProgress
from relight.domain.rollout.wave import WaveWork
from relight.domain.route import RouteStatus
from starter.local.children import wait_until
from starter.local.lab import lab_state
from tests.support.command_line import CommandLine, Ended
from workflows.rollout.rollout import RolloutRelease

FIRST = "v0.0.73"
TRACKS, REGIONS = ("beta", "stable"), ("lab-east", "lab-west")
PER_PLACE = 3
SCOPE = "fleet"
WINDOW = "PT1S"

_PACKAGE = "dpkg-query --show --showformat '${db:Status-Abbrev}|${Version}' lantern-box"
_INSTALLS = r"sed -nE 's/.* (install|upgrade) lantern-box:\S+ \S+ (\S+)$/\2/p' /var/log/dpkg.log"


@dataclass(frozen=True)
class LabFleet:
    """Routes that serve, each on a host of its own.

    Attributes:
        world: what carries them; its worker and its server can be killed.
        relight: the command line of their operator.
        machine_ids: the lab's id of each route's machine.
    """

    world: World
    relight: CommandLine
    machine_ids: dict[str, str]

    async def ask(self, *words: str) -> Any:
        """Return what a command answers that has to go well."""
        ended = await self.relight(*words, "--json")
        assert ended.code == 0, ended
        return ended.json

    async def roll_out(self, tag: str, *strategy: str) -> Ended:
        """Roll a release out, and follow that to its end: each line is a status."""
        return await self.relight("rollout", "start", tag, *strategy, "--wait", "--json")

    async def until_events(self, kind: str, tag: str, count: int, after: int = 0) -> None:
        """Wait until the log says something of a release so many times."""

        async def said() -> bool:
            return len(self.events(kind, tag, after)) >= count

        await wait_until(said, timedelta(seconds=60))

    async def see_machines(self) -> None:
        """Look which machines serve the routes by now."""
        there = await self.world.machines()
        for route in self.world.store.routes.list():
            assert route.machine is not None
            self.machine_ids[route.route_id] = there[route.machine.key]

    @property
    def routes(self) -> Sequence[str]:
        return sorted(self.machine_ids)

    def progress(self, tag: str) -> Mapping[str, RouteProgress]:
        """Where each route is in the newest rollout of a tag, by the store."""
        store = self.world.store
        rollout = store.rollouts.get(rollout_workflow_id(tag, SCOPE))
        if rollout is None:
            return {}
        return {row.route_id: row.progress for row in store.rollout_routes.list(rollout.run_id)}

    def events(self, kind: str, tag: str, after: int = 0) -> list[Event]:
        """Return what the log says of a release, oldest first."""
        return [
            event
            for event in self.world.store.events.list(kind=kind)
            if event.release_tag == tag and event.event_id > after
        ]

    def last_event(self) -> int:
        """Return the number of the newest event."""
        return self.world.store.events.list(limit=1)[-1].event_id

    def rollout(self, tag: str) -> WorkflowHandle[RolloutRelease, RolloutStatus]:
        assert self.world.client is not None
        return self.world.client.get_workflow_handle_for(
            RolloutRelease.run, rollout_workflow_id(tag, SCOPE)
        )

    async def started(self, tag: str, wave: int) -> list[str]:
        """Return the routes that a wave started, in that order, by its own history."""
        assert self.world.client is not None
        of_wave = f"{rollout_workflow_id(tag, SCOPE)}/{wave}/{WaveWork.SWAP}"
        history = await self.world.client.get_workflow_handle(of_wave).fetch_history()
        began = (
            event.start_child_workflow_execution_initiated_event_attributes.workflow_id
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
        )
        return [workflow_id.removeprefix(route_workflow_id("")) for workflow_id in began]

    async def installs(self) -> dict[str, list[str]]:
        """Return every version that dpkg was ever given on each host, in that order."""
        said = await asyncio.gather(*(self.on_host(each, _INSTALLS) for each in self.routes))
        return {route: text.split() for route, text in zip(self.routes, said, strict=True)}

    async def installed_since(self, before: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Return the versions that dpkg was given since on each host, where there are any."""
        now = await self.installs()
        since = {route: now[route][len(before[route]) :] for route in self.routes}
        return {route: versions for route, versions in since.items() if versions}

    async def stands(self, tag: str) -> None:
        """See that every route serves at a release: its host and its health say what we do."""
        version = tag.removeprefix("v")
        packages_there = await asyncio.gather(
            *(self.on_host(each, _PACKAGE) for each in self.routes)
        )
        assert set(packages_there) == {f"ii |{version}"}, packages_there
        listed = {route["route_id"]: route for route in await self.ask("route", "list")}
        assert sorted(listed) == self.routes
        async with httpx.AsyncClient(trust_env=False) as http:
            for route_id, route in listed.items():
                assert route["status"] == RouteStatus.SERVING, route
                assert route["fault"] is None, route
                assert route["current_release_tag"] == route["target_release_tag"] == tag, route
                health = await http.get(f"http://{route['machine']['address']}:8899/healthz")
                assert health.json() == {"status": "ok", "version": version}, route_id

    async def default(self) -> str:
        """Return the release that the fleet declares."""
        return str((await self.ask("fleet", "status"))["default_release_tag"])

    async def publish(self, build: Build) -> str:
        """Have the repository offer a further release, and return its tag."""
        with tempfile.TemporaryDirectory() as folder:
            await asyncio.to_thread(self._publish, build, Path(folder))
        return f"v{build.version}"

    def _publish(self, build: Build, folder: Path) -> None:
        packages.build_package(folder, build)
        repository.publish(self._served, folder, self._key, image.architecture())

    @contextmanager
    def repository_expired(self) -> Iterator[None]:
        """Have the repository be one that nobody has kept up: no host installs from that."""
        suite = self._served / "dists" / repository.SUITE
        signed, staged, text = suite / "InRelease", suite / ".InRelease", suite / ".expired"
        good = signed.read_bytes()
        past = f"{datetime.now(UTC) - timedelta(hours=1):%a, %d %b %Y %H:%M:%S} UTC"
        expired, dates = re.subn(
            "(?m)^Valid-Until: .*$", f"Valid-Until: {past}", (suite / "Release").read_text()
        )
        assert dates == 1
        text.write_text(expired)
        self._key.gpg("--digest-algo", "SHA512", "--clear-sign", "--output", staged, text)
        staged.rename(signed)
        try:
            yield
        finally:
            staged.write_bytes(good)
            staged.rename(signed)

    @property
    def _served(self) -> Path:
        return lab_state(self.world.home) / "repository"

    @property
    def _key(self) -> SigningKey:
        state = lab_state(self.world.home)
        return SigningKey(state / "gnupg", state / "signing-key.asc")

    async def on_host(self, route_id: str, script: str) -> str:
        """Run a script as root on a route's host, past its network and its sshd."""
        return (await self.world.on_host(self.machine_ids[route_id], script)).strip()


@asynccontextmanager
async def lab_fleet(
    kept: Path, tracks: Sequence[str] = TRACKS, further: Mapping[str, str] | None = None
) -> AsyncIterator[LabFleet]:
    """Bring three routes up in each of two regions, per track, and remove all of it at the end.

    What was said and written down meanwhile is left in the folder `kept`.

    Args:
        kept: the folder.
        tracks: the tracks.
        further: settings of the installation, by their variables.
    """
    async with world(WINDOW, further) as made, AsyncExitStack() as stack:
        stack.callback(shutil.copytree, made.home / "logs", kept / "logs")
        stack.callback(lambda: [shutil.copy(each, kept) for each in made.home.glob("fleet.db*")])
        relight = CommandLine(made.home)
        why = ("--reason", "its first release")
        await _done(relight, "settings", "set", "default_release_tag", FIRST, *why)
        for track in tracks:
            await _done(relight, "track", "set", track, *why)
        places = [(track, region) for track in tracks for region in REGIONS]
        await asyncio.gather(*(_provision(relight, *place) for place in places))
        machines = await made.machines()
        routes = [route for place in places for route in _routes(*place)]
        yield LabFleet(
            world=made,
            relight=relight,
            machine_ids={route: machines[machine_key(route, 1)] for route in routes},
        )


def _routes(track: str, region: str) -> list[str]:
    place = f"{region.removeprefix('lab-')}-{track}"
    return [f"{place}-{number}" for number in range(1, PER_PLACE + 1)]


async def _provision(relight: CommandLine, track: str, region: str) -> None:
    where = ("--track", track, "--region", region)
    await _done(relight, "route", "provision", *_routes(track, region), *where)


async def _done(relight: CommandLine, *words: str) -> None:
    ended = await relight(*words)
    assert ended.code == 0, ended
