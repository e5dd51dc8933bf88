"""The preflight of a rollout: its conditions are checked before the first host is changed."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from activities import policies
from activities.configurations import ServiceConfigurations
from activities.delivery import PackageDelivery
from activities.execution import current_operation
from activities.host_settings import HostSettingsWriter
from activities.image.preflight import ImagePreflight
from activities.pinned_releases import PinnedReleases
from activities.route.hot_swap import deb_of
from activities.route.known_good import version_of
from relight.domain.base import Origin
from relight.domain.event import PREFLIGHT_PASSED
from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import FaultClass
from relight.domain.install_plan import InstallPlan
from relight.domain.machine import Machine
from relight.domain.names import CheckName, ReleaseTag, scope_track
from relight.domain.recovery import DowngradeRefusedError
from relight.domain.release import rebuilt_architectures
from relight.domain.rollout.rollout import PreflightInput, PreflightPassed
from relight.domain.route import Route, RouteStatus
from relight.engine.step import step
from relight.hosts.connections import Hosts
from relight.hosts.dry_run import dry_run
from relight.hosts.errors import RemoteError
from relight.hosts.host_program import Change
from relight.releases.versions import is_older
from relight.store.store import Store
from relight.store.threads import in_thread

HOSTS_PER_REGION = 3
"""How many hosts of a region are tried: a faulty host says nothing about its region."""


@dataclass(frozen=True)
class _DryRun:
    machine_key: str
    plan: InstallPlan


@dataclass(frozen=True)
class HostParts:
    """What the preflight does on a host besides the dry run.

    Attributes:
        delivery: brings packages to hosts that do not fetch them; None: they do.
        configurations: renders the service's configuration; None: it has none.
        settings: writes what each host is told to manage; None: it stays as it is.
        images: holds machines to the contract of base images; None: to nothing.
    """

    delivery: PackageDelivery | None = None
    configurations: ServiceConfigurations | None = None
    settings: HostSettingsWriter | None = None
    images: ImagePreflight | None = None


class PreflightError(DomainError):
    """The rollout cannot start; nothing was changed."""

    kind = "preflight-failed"


class NoRoutesError(DomainError):
    """The scope has no machine that the rollout could reach."""

    kind = "no-routes"


class PreflightActivities:
    """Checks the repository and one host of each region. Changes nothing."""

    def __init__(
        self,
        hosts: Hosts,
        repository: PinnedReleases,
        store: Store,
        checks: Collection[CheckName] = (),
        on_hosts: "HostParts | None" = None,
    ) -> None:
        """Use what the checks need.

        Args:
            hosts: opens shells.
            repository: has the releases.
            store: has the routes.
            checks: names of the gate checks that this worker knows.
            on_hosts: what is done on hosts besides the dry run; None: nothing.
        """
        self._hosts = hosts
        self._repository = repository
        self._store = store
        self._checks = checks
        self._on_hosts = on_hosts or HostParts()

    @step(policies.PREFLIGHT, lambda i: f"{i.release.tag}: {i.scope}")
    async def preflight(self, input: PreflightInput) -> PreflightPassed:
        """Check that the release, and the releases that run now, can be installed in every region.

        Before an undo, and where a rollout leaves failed routes as they are, those that run now
        need not be: nobody goes back to them.

        The error lists all problems at once, each with its region.
        """
        store = self._store.routes
        if not input.undo:
            await in_thread(self._refuse_downgrade, input)
        current = await in_thread(store.releases, input.scope)
        goes_back = input.roll_back and not input.undo
        tags = [tag for tag in current if tag != input.release.tag and goes_back]
        regions = _by_region(await in_thread(store.sample_by_region, input.scope, HOSTS_PER_REGION))
        tag_results = [self._check_rollback(tag, current[tag]) for tag in tags]
        region_results = [
            self._check_region(name, routes, input) for name, routes in regions.items()
        ]
        results = await asyncio.gather(*tag_results, *region_results)
        problems = [
            *await in_thread(self._rebuilt, input, current),
            *unknown_checks(input.checks, self._checks),
            *(result for result in results if isinstance(result, PreflightError)),
        ]
        if problems:
            raise PreflightError("; ".join(map(str, problems)))
        tried = {
            name: result
            for name, result in zip(regions, results[len(tags) :], strict=True)
            if isinstance(result, _DryRun)
        }
        passed = PreflightPassed(
            dry_run_on={name: each.machine_key for name, each in tried.items()},
            rollback_tags=tuple(tags),
            plans={name: each.plan for name, each in tried.items()},
        )
        if input.origin is not None:
            await in_thread(self._record, input, input.origin, passed)
        return passed

    def _record(self, input: PreflightInput, origin: Origin, passed: PreflightPassed) -> None:
        plans = {name: plan.model_dump(mode="json") for name, plan in passed.plans.items()}
        self._store.events.append(
            PREFLIGHT_PASSED,
            current_operation(origin),
            release_tag=input.release.tag,
            detail={"scope": input.scope, "dry_run_on": dict(passed.dry_run_on), "plans": plans},
        )

    def _refuse_downgrade(self, input: PreflightInput) -> None:
        """Refuse a release if every route of the scope is proven at a newer one.

        A route that is not proven may go back to what it has run before, and one that is proven at
        a newer release is skipped.
        """
        proven = self._store.routes.proven_releases(input.scope)
        tags = sorted(tag for tag in proven if tag is not None)
        version = input.release.version
        if len(tags) < len(proven) or not all(
            is_older(version, version_of(self._store, tag)) for tag in tags
        ):
            return
        track = scope_track(input.scope)
        option = f" --track {track}" if track else ""
        undo = " or ".join(f"`relight rollout undo {tag}{option}`" for tag in reversed(tags))
        raise DowngradeRefusedError(
            f"every route of scope {input.scope} is proven at a newer release than "
            f"{input.release.tag} ({', '.join(tags)}): {undo} brings each back to its own release "
            "from before"
        )

    def _rebuilt(
        self, input: PreflightInput, current: Collection[ReleaseTag]
    ) -> list[PreflightError]:
        """Refuse to roll back to a release that is the same version with its old content."""
        tag = input.release.tag
        known = self._store.releases.pinned(tag) if input.roll_back and tag in current else None
        if input.undo or known is None or not rebuilt_architectures(known, input.release):
            return []
        return [
            PreflightError(
                f"{tag} was built again, and routes run it with its old content, to which they "
                "could not be rolled back; with --keep-failed the rollout starts without a rollback"
            )
        ]

    async def _check_rollback(
        self, tag: ReleaseTag, architectures: Sequence[str]
    ) -> PreflightError | None:
        """Check that routes could be rolled back to the release that they run now."""
        try:
            await self._repository.resolve(tag, architectures)
        except DomainError as error:
            if error.retryable:
                raise
            return PreflightError(
                f"a rollback to {tag} is not possible: {error}; with --keep-failed the rollout "
                "starts without one"
            )
        return None

    async def _check_region(
        self, name: str, routes: Sequence[Route], input: PreflightInput
    ) -> "_DryRun | PreflightError":
        """Return the machine on which a dry run of the installation succeeded, and its result."""
        release, last = input.release, None
        for route in routes:
            machine = route.machine
            assert machine is not None
            if self._on_hosts.configurations is not None:
                try:
                    await self._on_hosts.configurations.of(machine.key, release)
                except DomainError as error:
                    return PreflightError(f"route {route.route_id}: its configuration: {error}")
            try:
                plan = await self._try(machine, input)
            except PreflightError as error:
                return PreflightError(f"region {name}: {error}")
            except RemoteError as error:
                if error.fault_class is not FaultClass.HOST:
                    return PreflightError(f"region {name}: {error}")
                last = error
            else:
                return _DryRun(machine.key, plan)
        if last is not None and last.kind == "lists-lock-held":
            raise last  # A swap of the running rollout refreshes its lists too: retried.
        return PreflightError(f"region {name}: no host could run the check: {last}")

    async def _try(self, machine: Machine, input: PreflightInput) -> InstallPlan:
        """Return what apt would do on a host.

        An undo goes back to what ran on the host before, whatever its image lacks.

        Raises:
            PreflightError: its image does not hold the contract.
            RemoteError: apt would not install the release, or the host did not answer.
        """
        parts, release = self._on_hosts, input.release
        deb = deb_of(release, machine.architecture)
        # Whether it may be older than the one that runs is known from the records.
        change = Change(release.version, rollback=True, deb=deb)
        async with self._hosts.connect(machine) as shell:
            if parts.settings is not None:
                await parts.settings.ensure(shell)
            if parts.delivery is not None:
                await parts.delivery.bring(shell, deb)
            plan = await dry_run(shell, change, release.package)
            if parts.images is not None and not input.undo:
                lacks = await parts.images.problem(shell)
                if lacks is not None:
                    raise PreflightError(lacks)
        return plan


def unknown_checks(
    checks: Sequence[CheckName], known: Collection[CheckName]
) -> list[PreflightError]:
    """Return an error for each check of a rollout that the settings do not have."""
    there_are = f"there are {', '.join(sorted(known))}" if known else "there is none"
    return [
        PreflightError(f"RELIGHT_GATE_CHECKS has no check {name}; {there_are}")
        for name in checks
        if name not in known
    ]


def _by_region(routes: Sequence[Route]) -> Mapping[str, list[Route]]:
    """Return the routes of each region; serving routes come first."""
    regions: defaultdict[str, list[Route]] = defaultdict(list)
    for route in sorted(routes, key=lambda route: route.status is not RouteStatus.SERVING):
        regions[f"{route.provider}/{route.region}"].append(route)
    return regions
