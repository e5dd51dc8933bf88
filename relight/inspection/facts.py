"""Facts of a service, from the package and the unit that was chosen. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from debian.deb822 import PkgRelation

from relight.inspection.choice import Choice
from relight.inspection.ports import (
    Listening,
    expanded,
    listening_of_command,
    listening_of_socket,
)
from relight.inspection.unit_file import read_environment, words_of
from relight.inspection.units import Unit
from relight.releases.deb_contents import DebContents

_IN_ETC = re.compile(r"/etc/[A-Za-z0-9_.+/-]+")
OF_THE_SYSTEM = re.compile(
    r"/etc/(init\.d|cron|logrotate|logcheck|apparmor|pam|systemd|insserv|ufw|network|NetworkManager"
    r"|dhcp|resolvconf|ppp|sv/|letsencrypt|bash_completion|profile|modprobe|udev|sudoers|dbus-1"
    r"|emacs|X11|xdg)|.*/README"
)
"""Files in /etc that configure another program than the service."""

_OF_PACKAGES = re.compile(r"/(usr/)?(bin|sbin|lib|lib64|libexec|share|games)/")
"""Where programs are files of packages. A program elsewhere, which the package does not contain,
was made on the host."""

_INTERPRETERS = re.compile(r"(python|perl|ruby|node|nodejs|java|php|bash|dash|sh|lua|tclsh)[0-9.]*")


@dataclass(frozen=True)
class Facts:
    """What is known of a service.

    Attributes:
        contents: of its package.
        others: of packages that it depends on and that were read.
        holder: the one of all these that contains the units.
        choice: of its units.
        has_generator: whether further units are made at each boot.
    """

    contents: DebContents
    others: Sequence[DebContents]
    holder: DebContents
    choice: Choice
    has_generator: bool

    @property
    def main(self) -> Unit:
        """Its unit."""
        return self.choice.main

    @property
    def environment_files(self) -> list[str]:
        """Those of its unit, whether or not they have to exist."""
        return [value.lstrip("-") for value in self.main.file.all("Service", "EnvironmentFile")]

    @cached_property
    def argv(self) -> list[str]:
        """The program and its arguments, with the values of variables; empty if it has none."""
        commands = self.main.file.commands("ExecStart")
        if not commands:
            return []
        variables = dict(
            pair.split("=", 1)
            for value in self.main.file.all("Service", "Environment")
            for pair in words_of(value)
            if "=" in pair
        )
        for path in self.environment_files:
            variables.update(read_environment(self.text(path)))
        return expanded(commands[-1], variables)

    def text(self, path: str) -> str:
        """Return what a file contains, as far as a package has it and it was read."""
        return next((each.texts[path] for each in self._all if path in each.texts), "")

    def has(self, path: str) -> bool:
        """Whether one of the packages that were read contains a file."""
        other = path.removeprefix("/usr") if path.startswith("/usr/") else f"/usr{path}"
        return any({path, other} & each.paths for each in self._all)

    @cached_property
    def ports(self) -> list[Listening]:
        """Where it listens, as its sockets and its arguments say."""
        found = [
            listening
            for socket in self.choice.sockets
            for listening in listening_of_socket(socket.file.all("Socket", "ListenStream"))
        ]
        return found + listening_of_command(self.argv)

    @property
    def port(self) -> Listening | None:
        """The one to probe: that the service is there for, and that other hosts reach."""
        return next((each for each in self.ports if each.is_public and each.is_main), None)

    @cached_property
    def executable(self) -> str:
        """The program, or an interpreter's script, that no package contains; else empty."""
        program, *arguments = self.argv or [""]
        script = ""
        if _INTERPRETERS.fullmatch(PurePosixPath(program).name):
            script = next((each for each in arguments if each.startswith("/")), "")
        for path in (program, script):
            if path and path.isprintable() and "%" not in path and not self._is_of_a_package(path):
                return path
        return ""

    def _is_of_a_package(self, path: str) -> bool:
        return bool(_OF_PACKAGES.match(path)) or path.startswith("/etc/") or self.has(path)

    @property
    def packages(self) -> tuple[str, ...]:
        """The package, and those that have its version by dependency or by source."""
        own, version = self.contents.control, self.contents.control.version
        locked = {
            alternatives[0]["name"]
            for alternatives in dependencies_of(self.contents)
            if len(alternatives) == 1 and alternatives[0].get("version") == ("=", version)
        }
        # Read, since the unit is in one of them: each is a part of the same service.
        related = {
            each.control.package for each in self.others if _source(each) == _source(self.contents)
        }
        more = sorted({*locked, *related} - {own.package})
        return (own.package, *more) if more else ()

    @property
    def configuration(self) -> list[str]:
        """The configuration files: those that the units name, and the package's."""
        shipped = sorted({path for each in (self.contents, self.holder) for path in each.conffiles})
        of_service = [path for path in shipped if not OF_THE_SYSTEM.match(path)]
        return list(dict.fromkeys([*self.named_configuration, *of_service]))

    @cached_property
    def named_configuration(self) -> list[str]:
        """The configuration files that the unit names: no folders, and none of instances."""
        named = [*self.environment_files, *_IN_ETC.findall(" ".join(self.argv))]
        if self.main.script and self.has(f"/etc/default/{self.main.base}"):
            named.append(f"/etc/default/{self.main.base}")
        return [
            path
            for path in named
            if path.startswith("/etc/")
            and not path.endswith(("/", "-"))
            and not any(other.startswith(f"{path}/") for each in self._all for other in each.paths)
        ]

    @property
    def _all(self) -> tuple[DebContents, ...]:
        return self.contents, *self.others


def dependencies_of(contents: DebContents) -> "list[list[PkgRelation.ParsedRelation]]":
    """Return what a package depends on: the alternatives of each dependency."""
    fields = (contents.fields.get(key, "").strip() for key in ("Pre-Depends", "Depends"))
    return [each for field in fields if field for each in PkgRelation.parse_relations(field)]


def _source(contents: DebContents) -> str:
    """Return the name of the source package; a version may follow it in the field."""
    return contents.fields.get("Source", contents.control.package).partition(" ")[0]
