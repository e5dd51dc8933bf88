"""The single requirements that a contract consists of, each with its line."""

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from relight.domain.image.contract import ContractFinding
from relight.images.contract import Contract, ImageFile
from relight.images.contract_file import ContractFile


class Subject(StrEnum):
    """What is checked: an image before its first boot, or a machine that was made of one."""

    IMAGE = "image"
    MACHINE = "machine"


class Kind(StrEnum):
    """What a requirement asks for; the name of its function in `check.sh`."""

    PACKAGE = "package"
    NO_PACKAGE = "no-package"
    DIRECTORY = "directory"
    FILE = "file"
    MODE = "mode"
    OWNER = "owner"
    CONTENT = "content"
    USER = "user"
    SHELL = "shell"
    GROUP = "group"
    MASKED = "masked"
    NOT_ENABLED = "not-enabled"
    SYSCTL = "sysctl"
    KERNEL = "kernel"
    TRUSTED = "trusted"
    NO_PATH = "no-path"
    LOCKED = "locked"


_WORDS = {
    Kind.PACKAGE: "{subject} is not installed: {found}",
    Kind.NO_PACKAGE: "{subject} is there: {found}",
    Kind.DIRECTORY: "{subject} is not a directory: {found}",
    Kind.FILE: "{subject} is not a file: {found}",
    Kind.MODE: "the mode of {subject} is {found}, not {expected}",
    Kind.OWNER: "the owner of {subject} is {found}, not {expected}",
    Kind.CONTENT: "{subject} has another content: its SHA-256 is {found}, not {expected}",
    Kind.USER: "there is no user {subject}",
    Kind.SHELL: "the shell of {subject} is {found}, not {expected}",
    Kind.GROUP: "{subject} is not in the group {expected}",
    Kind.MASKED: "{subject} is not masked: {found}",
    Kind.NOT_ENABLED: "{subject} is enabled: {found}",
    Kind.SYSCTL: "{subject} is set to {found}, not to {expected}",
    Kind.KERNEL: "the kernel has {found} for {subject}, not {expected}",
    Kind.TRUSTED: "{subject} is not in the system's store of certificates: {found}",
    Kind.NO_PATH: "{found} is there",
    Kind.LOCKED: "these accounts have a password: {found}",
}


class Requirement(NamedTuple):
    """One thing that a contract asks for.

    Attributes:
        line: of the contract.
        section: of the contract, as in `absent.units`.
        kind: what it asks for.
        subject: whose it is: a package, a path, a unit, a user, the name of a setting.
        expected: what it has to be, where that is not said by the kind.
    """

    line: int
    section: str
    kind: Kind
    subject: str
    expected: str = ""

    @property
    def row(self) -> str:
        """How `check.sh` reads it; no value has a `|` or a line's end."""
        return f"{self.line}|{self.kind}|{self.subject}|{self.expected}"

    @property
    def what(self) -> str:
        """How `check.sh` names it beside its line."""
        return f"{self.kind} {self.subject} {self.expected}".strip()

    def finding(self, contract: str, found: str) -> ContractFinding:
        """Return what a person is told.

        Args:
            contract: the name of the contract's file.
            found: what is there instead.
        """
        text = _WORDS[self.kind].format(
            subject=self.subject, expected=self.expected, found=found or "nothing"
        )
        return self._with_text(contract, text)

    def unseen(self, contract: str) -> ContractFinding:
        """Return what a person is told if it could not be seen."""
        return self._with_text(contract, f"{self.subject} can be seen by root only")

    def _with_text(self, contract: str, text: str) -> ContractFinding:
        return ContractFinding(where=f"{contract}:{self.line}", section=self.section, text=text)


def requirements(file: ContractFile, subject: Subject) -> tuple[Requirement, ...]:
    """Return all that a contract asks of an image or of a machine, in the order of its sections."""
    contract = file.contract
    asked = [
        *_packages(file, contract),
        *_paths(file, contract, subject),
        *_users(file, contract),
        *_system(file, contract, subject),
        *_certificates(file, contract),
        *_absent(file, contract),
    ]
    if subject is Subject.IMAGE:
        asked += _absent_until_first_boot(file, contract)
    return tuple(asked)


def _packages(file: ContractFile, contract: Contract) -> Iterator[Requirement]:
    for number, name in enumerate(contract.packages):
        yield Requirement(file.line("packages", number), "packages", Kind.PACKAGE, name)
    for number, each in enumerate(contract.downloads):
        line = file.line("downloads", number, "package")
        yield Requirement(line, "downloads", Kind.PACKAGE, each.package)


def _paths(file: ContractFile, contract: Contract, subject: Subject) -> Iterator[Requirement]:
    for number, each in enumerate(contract.directories):
        place = ("directories", number)
        yield Requirement(file.line(*place, "path"), place[0], Kind.DIRECTORY, each.path)
        yield Requirement(file.line(*place, "mode"), place[0], Kind.MODE, each.path, each.mode)
        yield Requirement(file.line(*place, "owner"), place[0], Kind.OWNER, each.path, each.owner)
    for number, one in enumerate(contract.files):
        yield from _file(file, ("files", number), one, subject)
    for number, drop_in in enumerate(contract.drop_ins):
        yield from _file(file, ("drop_ins", number), drop_in.file, subject)


def _file(
    file: ContractFile, place: tuple[str, int], one: ImageFile, subject: Subject
) -> Iterator[Requirement]:
    section = place[0]
    yield Requirement(file.line(*place, "path"), section, Kind.FILE, one.path)
    yield Requirement(file.line(*place, "mode"), section, Kind.MODE, one.path, one.mode)
    yield Requirement(file.line(*place, "owner"), section, Kind.OWNER, one.path, one.owner)
    if one.filled_at_first_boot and subject is Subject.MACHINE:
        return
    if one.content is not None:
        digest = hashlib.sha256(one.content.encode()).hexdigest()
        yield Requirement(file.line(*place, "content"), section, Kind.CONTENT, one.path, digest)
    elif one.sha256 is not None:
        line = file.line(*place, "sha256")
        yield Requirement(line, section, Kind.CONTENT, one.path, one.sha256)


def _users(file: ContractFile, contract: Contract) -> Iterator[Requirement]:
    for number, user in enumerate(contract.users):
        place = ("users", number)
        yield Requirement(file.line(*place, "name"), "users", Kind.USER, user.name)
        yield Requirement(file.line(*place, "shell"), "users", Kind.SHELL, user.name, user.shell)
        for position, group in enumerate(user.groups):
            line = file.line(*place, "groups", position)
            yield Requirement(line, "users", Kind.GROUP, user.name, group)


def _system(file: ContractFile, contract: Contract, subject: Subject) -> Iterator[Requirement]:
    for number, unit in enumerate(contract.masked):
        yield Requirement(file.line("masked", number), "masked", Kind.MASKED, unit)
    for name, value in contract.sysctls.items():
        line = file.line("sysctls", name)
        yield Requirement(line, "sysctls", Kind.SYSCTL, name, value)
        if subject is Subject.MACHINE:
            yield Requirement(line, "sysctls", Kind.KERNEL, name, value)


def _certificates(file: ContractFile, contract: Contract) -> Iterator[Requirement]:
    section = "certificates"
    for number, each in enumerate(contract.certificates):
        line, digest = file.line(section, number, "name"), file.line(section, number, "sha256")
        yield Requirement(line, section, Kind.FILE, each.path)
        yield Requirement(digest, section, Kind.CONTENT, each.path, each.sha256)
        yield Requirement(line, section, Kind.TRUSTED, each.path)


def _absent(file: ContractFile, contract: Contract) -> Iterator[Requirement]:
    section = "absent"
    for number, name in enumerate(contract.absent.packages):
        line = file.line(section, "packages", number)
        yield Requirement(line, f"{section}.packages", Kind.NO_PACKAGE, name)
    for number, pattern in enumerate(contract.absent.paths):
        line = file.line(section, "paths", number)
        yield Requirement(line, f"{section}.paths", Kind.NO_PATH, pattern)
    for number, unit in enumerate(contract.absent.units):
        line = file.line(section, "units", number)
        yield Requirement(line, f"{section}.units", Kind.NOT_ENABLED, unit)


def _absent_until_first_boot(file: ContractFile, contract: Contract) -> Iterator[Requirement]:
    section, absent = "absent_until_first_boot", contract.absent_until_first_boot
    for number, name in enumerate(absent.packages):
        line = file.line(section, "packages", number)
        yield Requirement(line, f"{section}.packages", Kind.NO_PACKAGE, name)
    if absent.passwords:
        line = file.line(section, "passwords")
        yield Requirement(line, f"{section}.passwords", Kind.LOCKED, "/etc/shadow")
    for number, pattern in enumerate(absent.paths):
        line = file.line(section, "paths", number)
        yield Requirement(line, f"{section}.paths", Kind.NO_PATH, pattern)
