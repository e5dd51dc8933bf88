"""What has to hold before the first host of a rollout is touched."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from activities import policies
from activities.release import deb_of
from relight.domain.fault.error import DomainError
from relight.domain.names import CheckName, ReleaseTag
from relight.domain.release import Release
from relight.domain.rollout.rollout import PreflightInput, PreflightPassed
from relight.domain.route import Route, RouteStatus
from relight.engine.step import step
from relight.hosts import transaction
from relight.hosts.connections import Hosts
from relight.hosts.errors import RemoteError
from relight.hosts.host_program import Change
from relight.releases.source import ReleaseSource
from relight.store.store import Store

ASKED_PER_REGION = 3
"""A host that is out itself says nothing about its region: so many are asked for an answer."""


class PreflightError(DomainError):
    """Something stands in a rollout's way; nothing was touched."""

    kind = "preflight-failed"


class PreflightActivities:
    """Asks the repository, and one host of each region, and changes nothing."""

    def __init__(
        self,
        hosts: Hosts,
        repository: ReleaseSource,
        store: Store,
        checks: Collection[CheckName] = (),
    ) -> None:
        self._hosts = hosts
        self._repository = repository
        self._store = store
        self._checks = checks

    @step(policies.LOOKUP, lambda i: f"{i.release.tag}: {i.scope}")
    async def preflight(self, input: PreflightInput) -> PreflightPassed:
        """See that the release is installable in every region, and what is there now, too.

        All that stands in the way is told at once, each with its region.
        """
        known = self._store.routes
        current = await asyncio.to_thread(known.releases, input.scope)
        tags = [tag for tag in current if tag != input.release.tag]
        regions = _by_region(
            await asyncio.to_thread(known.first_of_regions, input.scope, ASKED_PER_REGION)
        )
        came_of_tags = [self._resolve(tag, current[tag]) for tag in tags]
        came_of_regions = [
            self._ask_region(name, there, input.release) for name, there in regions.items()
        ]
        answers = await asyncio.gather(*came_of_tags, *came_of_regions)
        wrong = [
            *self._unknown(input.checks),
            *(answer for answer in answers if isinstance(answer, PreflightError)),
        ]
        if wrong:
            raise PreflightError("; ".join(map(str, wrong)))
        asked = answers[len(tags) :]
        return PreflightPassed(
            asked=dict(zip(regions, map(str, asked), strict=True)), rollback_tags=tuple(tags)
        )

    def _unknown(self, checks: Sequence[CheckName]) -> list[PreflightError]:
        known = f"there are {', '.join(sorted(self._checks))}" if self._checks else "there is none"
        return [
            PreflightError(f"RELIGHT_GATE_CHECKS has no check {name}; {known}")
            for name in checks
            if name not in self._checks
        ]

    async def _resolve(
        self, tag: ReleaseTag, architectures: Sequence[str]
    ) -> PreflightError | None:
        """See that routes could go back to where they are now."""
        try:
            await self._repository.resolve(tag, architectures)
        except DomainError as error:
            if error.retryable:
                raise
            return PreflightError(f"there is no way back to {tag}: {error}")
        return None

    async def _ask_region(
        self, name: str, routes: Sequence[Route], release: Release
    ) -> str | PreflightError:
        """Return the machine that says the release is installable there."""
        last: RemoteError | None = None
        for route in routes:
            machine = route.machine
            assert machine is not None
            change = Change(release.version, deb=deb_of(release, machine.architecture))
            try:
                async with self._hosts.connect(machine) as shell:
                    await transaction.dry_run(shell, change, release.package)
            except RemoteError as error:
                if error.fault_class is not transaction.HOSTS_OWN:
                    return PreflightError(f"region {name}: {error}")
                last = error
            else:
                return machine.key
        return PreflightError(f"region {name}: no host could be asked: {last}")


def _by_region(routes: Sequence[Route]) -> Mapping[str, list[Route]]:
    """Return the routes of each region, those that serve first."""
    regions: defaultdict[str, list[Route]] = defaultdict(list)
    for route in sorted(routes, key=lambda route: route.status is not RouteStatus.SERVING):
        regions[f"{route.provider}/{route.region}"].append(route)
    return regions
