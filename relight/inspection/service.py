"""The service of a package, as `relight init` declares it. Pure but for `inspect_deb`.

What cannot be told is left at a value that is true of every service, and said in words: a service
whose port is not known has no probe.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from relight.domain.base import Message
from relight.domain.service import OnChange
from relight.domain.text import visible_head
from relight.inspection.choice import Choice, choose
from relight.inspection.facts import OF_THE_SYSTEM, Facts, dependencies_of
from relight.inspection.sentences import MAX_WORDS_BYTES, notes_of, unknown_of
from relight.inspection.units import is_of_units, units_of
from relight.releases.deb_contents import DebContents, read_deb
from relight.releases.errors import RepositoryError
from relight.setting_groups import ProbeKind, ServiceSettings

MAX_READ: Final = 12
"""How many packages are read to find a unit."""


class NoServiceError(RepositoryError):
    """The package has no service, and none of those that were read with it."""


class InspectedService(Message):
    """The service of a package.

    Attributes:
        package: its name.
        version: that was read.
        architecture: of the .deb that was read.
        unit: the unit, or the pattern of a template's instances.
        reason: why this unit is the service's, in words that follow its name.
        model: how its processes run: `notify`, `forking`, `System V script` and the like.
        more_units: other services, and sockets.
        executable: what must run, where no package contains it; else empty.
        on_change: how the units take a new release.
        probe: `tcp`, or `none` if no port was told.
        probe_port: the port; None without one.
        packages: those that one release installs; empty if it is the package alone.
        configuration: the paths of its configuration files.
        notes: what a person should know, sentences.
        unknown: what could not be told, sentences.
    """

    package: str
    version: str
    architecture: str
    unit: str
    reason: str
    model: str
    more_units: tuple[str, ...] = ()
    executable: str = ""
    on_change: OnChange = OnChange.RESTART
    probe: ProbeKind = "none"
    probe_port: int | None = None
    packages: tuple[str, ...] = ()
    configuration: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """Return the settings that it has, by the keys of a service file."""
        told: dict[str, Any] = {"package": self.package}
        if self.packages:
            told["packages"] = self.packages
        told["unit"] = self.unit
        if self.more_units:
            told["more_units"] = self.more_units
        if self.executable:
            told["executable"] = self.executable
        told |= {"on_change": str(self.on_change), "probe": self.probe}
        if self.probe_port is not None:
            told["probe_port"] = self.probe_port
        return told

    def settings(self) -> ServiceSettings:
        """Return it as settings."""
        return ServiceSettings.model_validate(self.values)


def inspect_deb(file: Path, find: Callable[[str], Path | None]) -> InspectedService:
    """Return the service of a .deb. Blocks.

    If it has no unit, the packages that it depends on are read whose names begin with the same
    word, as `nginx-common` for `nginx-light`.

    Args:
        file: the .deb.
        find: returns the .deb of a package by its name; None if there is none.

    Raises:
        NoServiceError: none of them has a service.
        RepositoryError: one cannot be read, or is no .deb.
    """
    first = read_contents(file)
    read, wanted = [first], _related(first, first)
    seen = {first.control.package, *wanted}
    while wanted and len(read) < MAX_READ and not units_of(read[-1]).of_kind("service"):
        found = find(wanted.pop(0))
        if found is None:
            continue
        read.append(read_contents(found))
        more = [name for name in _related(read[-1], first) if name not in seen]
        seen.update(more)
        wanted += more
    return inspect_contents(first, read[1:])


def read_contents(file: Path) -> DebContents:
    """Return what is needed of a .deb. Blocks.

    Raises:
        RepositoryError: it cannot be read, or is no .deb.
    """
    try:
        return read_deb(
            file,
            lambda path: (
                is_of_units(path) or (path.startswith("/etc/") and not OF_THE_SYSTEM.match(path))
            ),
        )
    except RepositoryError as error:
        raise RepositoryError(f"{file}: {error}") from error


def inspect_contents(contents: DebContents, others: Sequence[DebContents] = ()) -> InspectedService:
    """Return the service of a package.

    Args:
        contents: of the package.
        others: of packages that it depends on. The first with a service is used if the package has
            none.

    Raises:
        NoServiceError: none of them has a service.
        RepositoryError: the name of a unit or of a program is none that a setting can have.
    """
    package = contents.control.package
    for each in (contents, *others):
        units = units_of(each)
        choice = choose(units, package)
        if choice is not None:
            return _service(Facts(contents, others, each, choice, units.has_generator))
    read = ", ".join(each.control.package for each in others)
    raise NoServiceError(
        f"{package} has no service: no unit below lib/systemd/system, and no script in /etc/init.d"
        + (f"; nor have {read}, which it depends on" if read else "")
    )


def _service(facts: Facts) -> InspectedService:
    control, choice = facts.contents.control, facts.choice
    found = InspectedService(
        package=control.package,
        version=control.version,
        architecture=control.architecture,
        unit=choice.name,
        reason=visible_head(choice.reason, MAX_WORDS_BYTES),
        model=_model(choice),
        more_units=tuple(each.pattern for each in (*choice.more, *choice.sockets)),
        executable=facts.executable,
        on_change=OnChange.TRY_RESTART if choice.host_decides else OnChange.RESTART,
        probe="none" if facts.port is None else "tcp",
        probe_port=None if facts.port is None else facts.port.port,
        packages=facts.packages,
        configuration=tuple(visible_head(each, MAX_WORDS_BYTES) for each in facts.configuration),
        notes=tuple(notes_of(facts)),
        unknown=tuple(unknown_of(facts)),
    )
    try:
        found.settings()
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        name = ".".join(map(str, wrong["loc"]))
        raise RepositoryError(f"{control.package}: its {name}: {wrong['msg']}") from None
    return found


def _related(contents: DebContents, first: DebContents) -> list[str]:
    """Return the dependencies of a package that have the first word of the first one's name."""
    word = first.control.package.partition("-")[0]
    names = [alternatives[0]["name"] for alternatives in dependencies_of(contents)]
    related = re.compile(rf"{re.escape(word)}(-[a-z0-9.+-]+)?")
    return [name for name in dict.fromkeys(names) if related.fullmatch(name)]


def _model(choice: Choice) -> str:
    """Return how a service's processes run, in words."""
    main = choice.main
    parts = ["System V script" if main.script else main.type]
    if main.remains and not main.script:
        parts.append("remains active")
    if main.is_template:
        parts.append("instances")
    if choice.sockets:
        parts.append("socket-activated")
    return visible_head(", ".join(parts), MAX_WORDS_BYTES)
