"""The units of a package: its unit files, its System V scripts, and what its scripts do with them.

Pure.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from relight.inspection.unit_file import UnitFile, read_unit
from relight.releases.deb_contents import DebContents

UNIT_FOLDERS: Final = ("/lib/systemd/system", "/usr/lib/systemd/system", "/etc/systemd/system")
"""Those of packages. A file in a later one counts before one in an earlier."""

INIT_SCRIPTS: Final = "/etc/init.d"
_KINDS = ("service", "socket", "timer", "path", "target")
_GENERATORS = ("/lib/systemd/system-generators/", "/usr/lib/systemd/system-generators/")

_YES = {"yes", "true", "on", "1"}
_INSTANCE = re.compile(r"%[iIjJfnN]")
_LABELS = {
    *("Description", "Documentation", "SyslogIdentifier", "Slice", "PIDFile", "ExecReload"),
    *("ExecStop", "ExecStopPost", "RuntimeDirectory", "StateDirectory", "CacheDirectory"),
    "LogsDirectory",
}
"""Keys in which the name of an instance requires nothing of the host."""

_UMBRELLA = re.compile(r"/(usr/)?bin/true")


@dataclass(frozen=True)
class Unit:
    """A unit of a package.

    Attributes:
        name: as in `box.service` and `box@.service`.
        file: what its files say; of a System V script, what systemd makes of it.
        aliases: its other names.
        is_enabled: whether the package's scripts enable it; None if they do not say.
        is_masked: whether the package masks it.
        script: of a System V script, its path; else empty.
    """

    name: str
    file: UnitFile = field(default_factory=UnitFile)
    aliases: frozenset[str] = frozenset()
    is_enabled: bool | None = None
    is_masked: bool = False
    script: str = ""

    @property
    def base(self) -> str:
        """The name without its kind, and without an instance: `box`."""
        return self.name.rpartition(".")[0].partition("@")[0]

    @property
    def kind(self) -> str:
        """`service`, `socket`, `timer`, `path` or `target`."""
        return self.name.rpartition(".")[2]

    @property
    def is_template(self) -> bool:
        """Whether it is a template."""
        return "@." in self.name

    @property
    def pattern(self) -> str:
        """The name by which it is managed: of a template, the pattern of its instances."""
        return self.name.replace("@.", "@*.")

    @property
    def instance(self) -> str:
        """The instance of a template that runs with nothing made for it; empty if it has none."""
        if not (self.is_template and self.is_installed):
            return ""
        default = self.file.last("Install", "DefaultInstance")
        if not default and any(self._depends_on_its_name()):
            return ""
        return self.name.replace("@.", f"@{default or 1}.")

    def _depends_on_its_name(self) -> Iterator[bool]:
        for (section, key), values in self.file.values.items():
            text = " ".join(values)
            is_label = key in _LABELS or (key == "Environment" and "/" not in text)
            yield section != "Install" and not is_label and _INSTANCE.search(text) is not None

    def is_named_in(self, names: Collection[str]) -> bool:
        """Whether one of these names is its own, an alias, or that of an instance of it."""
        begins = f"{self.base}@"
        return bool({self.name, *self.aliases} & {*names}) or (
            self.is_template and any(name.startswith(begins) for name in names)
        )

    @property
    def type(self) -> str:
        """The type of a service, in lower case, as in `forking`."""
        default = "dbus" if self.file.last("Service", "BusName") else "simple"
        return self.file.last("Service", "Type", default).lower()

    @property
    def remains(self) -> bool:
        """Whether a oneshot remains active after its end."""
        says = self.file.last("Service", "RemainAfterExit").lower()
        return self.type == "oneshot" and says in _YES

    @property
    def is_installed(self) -> bool:
        """Whether it can be enabled, so that it starts with the system."""
        return bool(self.script or self.file.keys("Install", "WantedBy", "RequiredBy", "Also"))

    @property
    def is_umbrella(self) -> bool:
        """Whether it runs nothing itself, and others are a part of it."""
        programs = [command[0] for command in self.file.commands("ExecStart")]
        return self.remains and all(_UMBRELLA.fullmatch(each) for each in programs)

    @property
    def starts(self) -> str:
        """The unit that a socket, a timer or a path starts."""
        named = self.file.last("Socket", "Service") or self.file.last(self.kind.title(), "Unit")
        prefix = self.name.rpartition(".")[0]
        # Of a socket that accepts, each connection has an instance of its own.
        accepts = self.file.last("Socket", "Accept").lower() in _YES
        at = "@" if accepts and not prefix.endswith("@") else ""
        return named or f"{prefix}{at}.service"


@dataclass(frozen=True)
class PackageUnits:
    """All units of a package.

    Attributes:
        units: by name, sorted.
        has_generator: whether it makes further units at each boot.
    """

    units: Mapping[str, Unit]
    has_generator: bool = False

    def of_kind(self, kind: str) -> list[Unit]:
        """Return the units of a kind."""
        return [unit for unit in self.units.values() if unit.kind == kind]

    def named(self, name: str) -> Unit | None:
        """Return the unit of a name or an alias."""
        return next(
            (unit for unit in self.units.values() if name == unit.name or name in unit.aliases),
            None,
        )


def is_of_units(path: str) -> bool:
    """Whether the content of a file is needed to know the units."""
    folder = PurePosixPath(path).parent
    of_drop_ins = folder.name.endswith(".d") and str(folder.parent) in UNIT_FOLDERS
    return of_drop_ins or str(folder) in {*UNIT_FOLDERS, INIT_SCRIPTS}


def units_of(contents: DebContents) -> PackageUnits:
    """Return the units of a package."""
    files = {
        name: path
        for folder in UNIT_FOLDERS
        for path in contents.paths
        if str(PurePosixPath(path).parent) == folder
        and (name := PurePosixPath(path).name).rpartition(".")[2] in _KINDS
    }
    linked = {
        name: PurePosixPath(contents.links[path]).name
        for name, path in files.items()
        if path in contents.links
    }
    wanted = {
        PurePosixPath(path).name
        for path in contents.links
        if PurePosixPath(path).parent.name.endswith((".wants", ".requires"))
    }
    script = _Script(contents.scripts.get("postinst", ""), wanted)
    units = {}
    for name, path in files.items():
        if name in linked and linked[name] != "null":
            continue
        file = read_unit(_texts(name, path, contents))
        others = {alias for alias, of in linked.items() if of == name}
        units[name] = Unit(
            name=name,
            file=file,
            aliases=frozenset({*others, *file.words("Install", "Alias")}),
            is_enabled=script.enable(name),
            is_masked=name in linked or script.mask(name),
        )
    known = {each for unit in units.values() for each in (unit.name, *unit.aliases)}
    for path in contents.paths:
        unit = _of_init_script(path, contents, script)
        if unit is not None and unit.name not in known:
            units[unit.name] = unit
    return PackageUnits(
        dict(sorted(units.items())),
        has_generator=any(path.startswith(_GENERATORS) for path in contents.paths),
    )


def _texts(name: str, path: str, contents: DebContents) -> list[str]:
    """Return the contents of a unit file and of its drop-ins, in the order in which they count."""
    drop_ins = {
        PurePosixPath(each).name: each
        for folder in UNIT_FOLDERS
        for each in contents.texts
        if str(PurePosixPath(each).parent) == f"{folder}/{name}.d" and each.endswith(".conf")
    }
    paths = [path, *(drop_ins[each] for each in sorted(drop_ins))]
    return [contents.texts.get(each, "") for each in paths]


def _of_init_script(path: str, contents: DebContents, postinst: "_Script") -> Unit | None:
    """Return the unit that systemd makes of a System V script; None if the file is none."""
    script = PurePosixPath(path)
    if str(script.parent) != INIT_SCRIPTS or path not in contents.texts:
        return None
    text = contents.texts[path]
    if not text.startswith("#!"):
        return None
    name = f"{script.name.removesuffix('.sh')}.service"
    values = {("Service", "Type"): ("forking",), ("Service", "RemainAfterExit"): ("yes",)}
    return Unit(name, UnitFile(values), is_enabled=postinst.enable_script(script.name), script=path)


class _Script:
    """What a package's postinst does with units."""

    def __init__(self, text: str, wanted: Collection[str]) -> None:
        """Use the script.

        Args:
            text: of the script; empty if there is none.
            wanted: units that files of the package enable.
        """
        self._text = text
        self._wanted = wanted

    def enable(self, name: str) -> bool | None:
        """Return whether it enables a unit; None if it does not say."""
        if name in self._wanted:
            return True
        # What debhelper writes for a unit that is not to be enabled has this question around it.
        if self._has(r"deb-systemd-helper( -\S+)* debian-installed", re.escape(name)):
            return False
        if self._has(r"(deb-systemd-helper|systemctl)( -\S+)* enable", re.escape(name)):
            return True
        return False if "deb-systemd-helper" in self._text else None

    def mask(self, name: str) -> bool:
        """Return whether it masks a unit."""
        return self._has(r"(deb-systemd-helper|systemctl)( -\S+)* mask", re.escape(name))

    def enable_script(self, name: str) -> bool | None:
        """Return whether it enables a System V script; None if it does not say."""
        if self._has(r"update-rc\.d( -\S+)*", rf"{re.escape(name)} (defaults-)?disabled?"):
            return False
        if self._has(r"update-rc\.d( -\S+)*", rf"{re.escape(name)} (defaults|enable)"):
            return True
        return None

    def _has(self, command: str, argument: str) -> bool:
        found = rf"{command}[^\n;|&]* ['\"]?{argument}['\"]?(?=[\s;>&|]|$)"
        return re.search(found, self._text) is not None
