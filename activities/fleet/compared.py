"""What a comparison of the record with providers and hosts shows: which side is behind, and why."""

from collections.abc import Sequence
from typing import NamedTuple

from relight.domain.comparison import Comparison, RouteToCompare, Verdict
from relight.domain.machine import Machine, MachineAtProvider
from relight.domain.route import Route
from relight.hosts.packages import PackageState
from relight.releases.versions import is_older


class ObservedMachine(NamedTuple):
    """What a machine's host runs, or why that is not known."""

    machine: MachineAtProvider | Machine
    package: PackageState | None
    error: str = ""


def compared_with_host(
    route: Route,
    each: RouteToCompare,
    observed: Sequence[ObservedMachine],
    recorded_version: str | None,
) -> Comparison:
    """Return which side is behind, from what was observed until a machine answered."""
    on_record = f"{route.machine.key} at {route.current_release_tag}" if route.machine else ""
    last = observed[-1] if observed else None
    if last is None:
        verdict, found, reason = Verdict.AGREES, "", "it has no machine"
    elif last.package is None:
        verdict, found, reason = _silent(each, last)
    else:
        version = last.package.version
        found = f"{last.machine.key} at {version or 'no version'}"
        verdict, reason = _judged(each, last, last.package, recorded_version)
    return Comparison(
        about=f"route {route.route_id}",
        verdict=verdict,
        recorded=on_record,
        found=found,
        reason=reason,
    )


def _silent(each: RouteToCompare, last: ObservedMachine) -> tuple[Verdict, str, str]:
    if each.newer:
        key = each.newer[0].key
        return Verdict.UNKNOWN, key, f"{key} is not on record, and does not answer: {last.error}"
    if each.listed is False:
        why = (
            f"its provider does not list its machine, and no host answers for it: {last.error}. "
            "If a machine of the pool serves it, "
            "`relight store adopt-current`, with --serves, records that"
        )
        return Verdict.MACHINE_MISSING, "", why
    return Verdict.UNKNOWN, "", last.error


def _judged(
    each: RouteToCompare, last: ObservedMachine, package: PackageState, recorded_version: str | None
) -> tuple[Verdict, str]:
    if each.serves is not None and last.machine.key == each.serves.key:
        return Verdict.RECORD_BEHIND, f"it is served by {each.serves.key}, by a person's word"
    if each.serves is not None:
        return Verdict.UNKNOWN, f"{each.serves.key} does not answer"
    return _judged_by_providers(each, last) or _judged_by_version(package, recorded_version)


def _judged_by_providers(each: RouteToCompare, last: ObservedMachine) -> tuple[Verdict, str] | None:
    if any(last.machine.key == newer.key for newer in each.newer):
        return Verdict.RECORD_BEHIND, f"{last.machine.provider} has a machine that is not on record"
    if each.newer:
        key = each.newer[0].key
        return Verdict.UNKNOWN, f"{key} is not on record, and does not answer"
    return None


def _judged_by_version(package: PackageState, recorded_version: str | None) -> tuple[Verdict, str]:
    if not package.is_installed(package.version):
        return Verdict.HOST_BEHIND, f"its package is not completely installed: {package.status}"
    if recorded_version is None:
        return Verdict.UNKNOWN, "it was never proven"
    if package.version == recorded_version:
        return Verdict.AGREES, ""
    if is_older(recorded_version, package.version):
        return Verdict.RECORD_BEHIND, "its host runs a newer release than on record"
    return Verdict.HOST_BEHIND, "its host runs an older release than on record"


def unknown_route(machine: MachineAtProvider, route_id: str) -> Comparison:
    """Return that a machine is of a route that is not on record."""
    return Comparison(
        about=f"machine {machine.key}",
        verdict=Verdict.RECORD_BEHIND,
        found=machine.key,
        reason=f"route {route_id} is not on record: `relight store adopt-current`, with "
        "--track, records it",
    )


def unknown_pool_machine(machine: MachineAtProvider) -> Comparison:
    """Return that a machine of a pool is not on record: it may serve a route."""
    return Comparison(
        about=f"machine {machine.key}",
        verdict=Verdict.RECORD_BEHIND,
        found=machine.key,
        reason="a pool machine that is not on record. If it serves a route, `relight store "
        f"adopt-current`, with --serves, records that; if it serves none, `relight "
        f"machine remove {machine.key} --provider {machine.provider}` destroys it",
    )


def not_found(route_id: str, key: str) -> Comparison:
    """Return that the machine which a person named does not exist."""
    return Comparison(
        about=f"route {route_id}",
        verdict=Verdict.UNKNOWN,
        reason=f"no provider lists a machine {key}, so that it does not serve it",
    )


def not_in_service(route_id: str) -> Comparison:
    """Return that the route to which a person gave a machine is not on record, or is retired."""
    return Comparison(
        about=f"route {route_id}",
        verdict=Verdict.UNKNOWN,
        reason="no such route is in service, so no machine was given to it; "
        "`relight route list` shows those that are",
    )
