"""A fleet on real hosts: its operator's commands, and the true state of each host.

The operator's commands run in the process of the tests: a process of its own costs a second of CPU
for its imports. Worker, Temporal server, lab and hosts are real.
"""

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

from devkit.chaos.environment import ChaosEnvironment, chaos_environment
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
from relight.domain.route_state import RouteState
from starter.local.children import wait_until
from starter.local.lab import lab_state
from tests.starter.in_process import InProcess
from tests.support.command_line import WHOLE_FLEET_AT_ONCE, CommandLine, Ended
from workflows.rollout.rollout import RolloutRelease

FIRST = "v0.0.73"
TRACKS, REGIONS = ("beta", "stable"), ("lab-east", "lab-west")
PER_LOCATION = 3
SCOPE = "fleet"
WINDOW = "PT1S"

_PACKAGE = "dpkg-query --show --showformat '${db:Status-Abbrev}|${Version}' lantern-box"
_INSTALLS = r"sed -nE 's/.* (install|upgrade) lantern-box:\S+ \S+ (\S+)$/\2/p' /var/log/dpkg.log"


@dataclass(frozen=True)
class LabFleet:
    """Serving routes, each on its own host.

    Attributes:
        environment: the worker and the Temporal server, which can be killed, and the lab.
        relight: the operator's command line.
        machine_ids: the lab's id of each route's machine.
    """

    environment: ChaosEnvironment
    relight: CommandLine
    machine_ids: dict[str, str]

    async def ask(self, *words: str) -> Any:
        """Return the JSON output of a command, which must succeed."""
        ended = await self.relight(*words, "--json")
        assert ended.code == 0, ended
        return ended.json

    async def roll_out(self, tag: str, *strategy: str) -> Ended:
        """Run a rollout to its end. Each line of the output is a status."""
        return await self.relight("rollout", "start", tag, *strategy, "--wait", "--json")

    async def until_events(self, kind: str, tag: str, count: int, after: int = 0) -> None:
        """Wait until a release has this many events of a kind."""

        async def recorded() -> bool:
            return len(self.events(kind, tag, after)) >= count

        await wait_until(recorded, timedelta(seconds=60))

    async def refresh_machines(self) -> None:
        """Read again which machine serves each route."""
        ids = await self.environment.machines()
        for route in self.environment.store.routes.list():
            assert route.machine is not None
            self.machine_ids[route.route_id] = ids[route.machine.key]

    @property
    def routes(self) -> Sequence[str]:
        return sorted(self.machine_ids)

    def progress(self, tag: str) -> Mapping[str, RouteProgress]:
        """Return the progress of each route in the newest rollout of a tag, from the store."""
        store = self.environment.store
        rollout = store.rollouts.get(rollout_workflow_id(tag, SCOPE))
        if rollout is None:
            return {}
        return {row.route_id: row.progress for row in store.rollout_routes.list(rollout.run_id)}

    def events(self, kind: str, tag: str, after: int = 0) -> list[Event]:
        """Return the events of a release, oldest first."""
        return [
            event
            for event in self.environment.store.events.list(kind=kind)
            if event.release_tag == tag and event.event_id > after
        ]

    def last_event(self) -> int:
        """Return the id of the newest event."""
        return self.environment.store.events.list(limit=1)[-1].event_id

    def rollout(self, tag: str) -> WorkflowHandle[RolloutRelease, RolloutStatus]:
        assert self.environment.client is not None
        return self.environment.client.get_workflow_handle_for(
            RolloutRelease.run, rollout_workflow_id(tag, SCOPE)
        )

    async def started(self, tag: str) -> list[str]:
        """Return the routes that a rollout of small waves started, in order, from its history."""
        assert self.environment.client is not None
        rollout = rollout_workflow_id(tag, SCOPE)
        history = await self.environment.client.get_workflow_handle(rollout).fetch_history()
        workflow_ids = (
            event.start_child_workflow_execution_initiated_event_attributes.workflow_id
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
        )
        return [workflow_id.removeprefix(route_workflow_id("")) for workflow_id in workflow_ids]

    async def installs(self) -> dict[str, list[str]]:
        """Return all versions that dpkg installed on each host, oldest first."""
        logs = await asyncio.gather(*(self.on_host(each, _INSTALLS) for each in self.routes))
        return {route: text.split() for route, text in zip(self.routes, logs, strict=True)}

    async def installed_since(self, before: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Return the versions that dpkg installed since `before`, for each host with any."""
        now = await self.installs()
        since = {route: now[route][len(before[route]) :] for route in self.routes}
        return {route: versions for route, versions in since.items() if versions}

    async def assert_serves(self, tag: str) -> None:
        """Check that every route serves a release, by its record, its host and its health."""
        version = tag.removeprefix("v")
        installed = await asyncio.gather(*(self.on_host(each, _PACKAGE) for each in self.routes))
        assert set(installed) == {f"ii |{version}"}, installed
        listed = {route["route_id"]: route for route in await self.ask("route", "list")}
        assert sorted(listed) == self.routes
        async with httpx.AsyncClient(trust_env=False) as http:
            for route_id, route in listed.items():
                # Proofs are old at once in fleets whose runs verify every route.
                assert route["status"] in {RouteState.PROVEN, RouteState.STALE}, route
                assert route["fault"] is None, route
                assert route["current_release_tag"] == route["target_release_tag"] == tag, route
                health = await http.get(f"http://{route['machine']['address']}:8899/healthz")
                assert health.json() == {"status": "ok", "version": version}, route_id

    async def default(self) -> str:
        """Return the fleet's default release."""
        return str((await self.ask("fleet", "status"))["default_release_tag"])

    async def publish(self, build: Build) -> str:
        """Publish another release in the repository, and return its tag."""
        with tempfile.TemporaryDirectory() as folder:
            await asyncio.to_thread(self._publish, build, Path(folder))
        return f"v{build.version}"

    def _publish(self, build: Build, folder: Path) -> None:
        packages.build_package(folder, build)
        repository.publish(self._served, folder, self._key, image.architecture())

    @contextmanager
    def repository_expired(self) -> Iterator[None]:
        """Let the repository's signed index be expired until the block ends: no host accepts it."""
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
        return lab_state(self.environment.home) / "repository"

    @property
    def _key(self) -> SigningKey:
        state = lab_state(self.environment.home)
        return SigningKey(state / "gnupg", state / "signing-key.asc")

    async def on_host(self, route_id: str, script: str) -> str:
        """Run a script as root on a route's host. It needs neither the network nor sshd."""
        return (await self.environment.on_host(self.machine_ids[route_id], script)).strip()


@asynccontextmanager
async def lab_fleet(
    kept: Path, tracks: Sequence[str] = TRACKS, further: Mapping[str, str] | None = None
) -> AsyncIterator[LabFleet]:
    """Provision three routes per track in each of two regions; remove everything at the end.

    Args:
        kept: a folder that gets the logs and the store.
        tracks: the tracks.
        further: settings of the installation, by their variables.
    """
    async with chaos_environment(WINDOW, further) as environment, AsyncExitStack() as stack:
        stack.callback(shutil.copytree, environment.home / "logs", kept / "logs")
        stack.callback(
            lambda: [shutil.copy(each, kept) for each in environment.home.glob("fleet.db*")]
        )
        relight = InProcess(environment.home, WHOLE_FLEET_AT_ONCE)
        reason = ("--reason", "its first release")
        await _done(relight, "settings", "set", "default_release_tag", FIRST, *reason)
        for track in tracks:
            await _done(relight, "track", "set", track, *reason)
        locations = [(track, region) for track in tracks for region in REGIONS]
        await asyncio.gather(*(_provision(relight, *location) for location in locations))
        machines = await environment.machines()
        routes = [route for location in locations for route in _routes(*location)]
        yield LabFleet(
            environment=environment,
            relight=relight,
            machine_ids={route: machines[machine_key(route, 1)] for route in routes},
        )


def _routes(track: str, region: str) -> list[str]:
    location = f"{region.removeprefix('lab-')}-{track}"
    return [f"{location}-{number}" for number in range(1, PER_LOCATION + 1)]


async def _provision(relight: CommandLine, track: str, region: str) -> None:
    where = ("--track", track, "--region", region)
    await _done(relight, "route", "provision", *_routes(track, region), *where)


async def _done(relight: CommandLine, *words: str) -> None:
    ended = await relight(*words)
    assert ended.code == 0, ended
