"""Which of a package's units is its service, by a rule that is the same for all. Pure.

1. Left out are units that are masked, that a timer starts, that end without remaining active, and
   that only another unit or a path starts, as far as others are left.
2. Of the rest the first counts: of the package's name; one that no other service of the package
   brings along; of a name like the package's; enabled by the package; no oneshot; no template;
   started after the others; the first by name.
3. A unit that runs nothing itself (`ExecStart=/bin/true`) stands for the units that are a part of
   it: its instance in the package, else all instances of its template.
4. Of a template that starts with the system, that instance is the unit which the template names, or
   `1` if nothing that it starts depends on the name; else all instances are.
"""

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from relight.inspection.units import PackageUnits, Unit

_SAME, _BEGINS = 3, 2
_LEAST_LETTERS = 3
_STARTS = ("Wants", "Requires", "BindsTo", "Upholds")
_WITH_THE_SYSTEM = {"multi-user.target", "graphical.target", "default.target", "sockets.target"}
_WORDS = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Choice:
    """The units of a service.

    Attributes:
        main: its unit.
        name: of that unit as it is managed; of a template, its instance or their pattern.
        reason: why it is the one, in words that follow its name.
        sockets: those that start it.
        more: other services that the package starts as well.
        left: the services that were left out or not chosen, and why, in words.
        host_decides: whether each of the units runs on some hosts only.
        is_sure: whether no other unit would do as well.
    """

    main: Unit
    name: str
    reason: str
    sockets: tuple[Unit, ...] = ()
    more: tuple[Unit, ...] = ()
    left: tuple[str, ...] = ()
    host_decides: bool = False
    is_sure: bool = True


def choose(units: PackageUnits, package: str) -> Choice | None:
    """Return the units of a package's service; None if it has no service.

    Args:
        units: of the package.
        package: the name of the package that is released.
    """
    services = units.of_kind("service")
    left: dict[str, str] = {}
    for why, is_left in _helper_rules(units, package):
        rest = [unit for unit in services if not is_left(unit)]
        if not rest:
            continue
        left.update({unit.name: why for unit in services if unit not in rest})
        services = rest
    if not services:
        return None
    services.sort(key=lambda unit: _rank(unit, units, package))
    first, *others = services
    main = _part_of(first, units) or first
    if main is not first:
        left[first.name] = "runs nothing itself"
    is_sure = (
        not others or _rank(first, units, package)[:-1] != _rank(others[0], units, package)[:-1]
    )
    targets = _WITH_THE_SYSTEM | {
        each.name for each in units.of_kind("target") if _starts_with_the_system(each)
    }
    beside = [each for each in others if each is not main and _runs_too(each, main, targets)]
    on_some = [each for each in beside if conditions_of(each)]
    host_decides = bool(conditions_of(main) and on_some and len(on_some) == len(beside))
    more = tuple(each for each in beside if host_decides or each not in on_some)
    for each in others:
        if each is not main and each not in more:
            left.setdefault(each.name, _why_not(each))
    sockets = tuple(each for each in units.of_kind("socket") if _opens(each, main, units))
    return Choice(
        main=main,
        name=main.pattern if sockets or main is not first else main.instance or main.pattern,
        reason=_reason(first, main, others, units, package),
        sockets=sockets,
        more=more,
        left=tuple(f"{name} ({why})" for name, why in sorted(left.items())),
        host_decides=host_decides,
        is_sure=is_sure or host_decides,
    )


def _helper_rules(
    units: PackageUnits, package: str
) -> Sequence[tuple[str, Callable[[Unit], bool]]]:
    by_timer = _started_by("timer", units)
    sockets = {
        each.name
        for socket in units.of_kind("socket")
        if _may_open(socket)
        for each in [units.named(socket.starts)]
        if each is not None
    }
    return (
        ("is masked", lambda unit: unit.is_masked),
        ("a timer starts it", lambda unit: unit.name in by_timer),
        ("ends without remaining active", lambda unit: unit.type == "oneshot" and not unit.remains),
        (
            "another unit starts it",
            lambda unit: (
                not (unit.is_installed or unit.is_enabled or unit.name in sockets)
                and not _is_part(unit, units)
            ),
        ),
        (
            "prepares the host, and runs nothing",
            lambda unit: _prepares(unit, units) and _likeness(unit, package) < _SAME,
        ),
    )


def _started_by(kind: str, units: PackageUnits) -> set[str]:
    started = (units.named(each.starts) for each in units.of_kind(kind))
    return {unit.name for unit in started if unit is not None}


def _prepares(unit: Unit, units: PackageUnits) -> bool:
    """Whether it is a oneshot that remains, beside services that run."""
    runs = any(each.type != "oneshot" for each in units.of_kind("service") if not each.is_template)
    return unit.remains and not unit.is_umbrella and runs


def _is_part(unit: Unit, units: PackageUnits) -> bool:
    whole = (units.named(name) for name in unit.file.words("Unit", "PartOf"))
    return any(each is not None and each.is_umbrella for each in whole)


def _part_of(whole: Unit, units: PackageUnits) -> Unit | None:
    """Return the unit that a unit which runs nothing itself stands for."""
    if not whole.is_umbrella:
        return None
    names = {whole.name, *whole.aliases}
    parts = [
        unit
        for unit in units.of_kind("service")
        if names & {*unit.file.words("Unit", "PartOf")} and unit.type != "oneshot"
    ]
    return min(parts, key=lambda unit: (unit.is_template, unit.name), default=None)


def _rank(unit: Unit, units: PackageUnits, package: str) -> tuple[int | bool | str, ...]:
    """Return the place of a unit among the services; the smallest is the main one."""
    follows = {*unit.file.words("Unit", "After")}
    others = {each.name for each in units.of_kind("service")} - {unit.name}
    likeness = _likeness(unit, package)
    return (
        likeness < _SAME,
        _is_brought(unit, units),
        -likeness,
        unit.is_enabled is False,
        unit.type == "oneshot" and not unit.is_umbrella,
        unit.is_template,
        -len(follows & others),
        unit.name,
    )


def _is_brought(unit: Unit, units: PackageUnits) -> bool:
    """Whether another service of the package starts a unit with itself, and not after it.

    A service that another one needs is started before that one.
    """
    services = (each for each in units.of_kind("service") if not each.is_umbrella)
    return any(_brings(each, unit) and not _brings(unit, each) for each in services)


def _brings(unit: Unit, other: Unit) -> bool:
    if unit is other:
        return False
    starts = other.is_named_in(unit.file.words("Unit", *_STARTS))
    belongs = unit.is_named_in(other.file.words("Unit", "PartOf", "BindsTo"))
    return (starts or belongs) and not other.is_named_in(unit.file.words("Unit", "After"))


def _likeness(unit: Unit, package: str) -> int:
    """Return how near a unit's name is to the package's: the same, one begins with the other."""
    names = {unit.base, *(alias.rpartition(".")[0] for alias in unit.aliases)}
    if package in names:
        return _SAME
    long = [name for name in names if len(name) >= _LEAST_LETTERS]
    if any(package.startswith(name) or name.startswith(package) for name in long):
        return _BEGINS
    first = _WORDS.findall(package)[0]
    return int(any(name.startswith(first) or first in _WORDS.findall(name) for name in names))


def _reason(
    first: Unit, main: Unit, others: Sequence[Unit], units: PackageUnits, package: str
) -> str:
    if main is not first:
        return f"{first.name} runs nothing itself, and this is a part of it"
    if not others:
        only = len(units.of_kind("service")) == 1
        return "the only one" if only else "the only one that is no helper"
    if _brings(first, others[0]):
        return f"it starts {others[0].name} with itself"
    if _likeness(first, package) > _likeness(others[0], package):
        return f"its name is the nearest to {package}"
    if first.is_enabled is not False and others[0].is_enabled is False:
        return "the package enables it"
    return f"the first of {len(others) + 1}"


def _may_open(socket: Unit) -> bool:
    """Whether a socket may be open on a host."""
    return not socket.is_masked and (socket.is_enabled is not False) and socket.is_installed


def _opens(socket: Unit, main: Unit, units: PackageUnits) -> bool:
    """Whether a socket is open for the service."""
    excluded = {*main.file.words("Unit", "Conflicts"), *socket.file.words("Unit", "Conflicts")}
    return (
        units.named(socket.starts) is main
        and _may_open(socket)
        and not {socket.name, main.name} & excluded
    )


def _starts_with_the_system(target: Unit) -> bool:
    wanted = {*target.file.words("Install", "WantedBy")}
    return target.is_enabled is not False and bool(_WITH_THE_SYSTEM & wanted)


def _runs_too(unit: Unit, main: Unit, targets: Set[str]) -> bool:
    """Whether the package starts another service beside the main one, if the host allows it.

    Args:
        unit: the other service.
        main: the main one.
        targets: those that start with the system.
    """
    return (
        unit.is_enabled is not False
        and bool(unit.script or targets & {*unit.file.words("Install", "WantedBy")})
        and not unit.is_template
        and not unit.is_umbrella
        and main.name not in unit.file.words("Unit", "Conflicts")
    )


def _why_not(unit: Unit) -> str:
    if unit.is_enabled is False:
        return "the package does not enable it"
    if unit.is_template:
        return "its instances are made on the host"
    return "runs on some hosts only" if conditions_of(unit) else "does not start with the system"


def conditions_of(unit: Unit) -> list[str]:
    """Return what a unit requires of the host to start, as its file says it."""
    return [
        f"{key}={value}"
        for section, prefixes in (
            ("Unit", ("Condition", "Assert")),
            ("Service", ("ExecCondition",)),
        )
        for key in unit.file.keys(section, *prefixes)
        for value in unit.file.all(section, key)
    ]
