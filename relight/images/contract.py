"""The contract of base images: what each image holds, and what it does not hold.

A contract is a YAML file; `contract.yaml` beside this module is that of lantern-box. The script
that makes an image (`provision`) and the one that checks it (`check`) are both made of it, so no
line can be in one of them only. `contract_file` reads it.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    StringConstraints,
    model_validator,
)

from relight.domain.image.image import Sha256
from relight.domain.names import PackageName
from relight.domain.release import ArchitectureName


def _without_detours(path: str) -> str:
    if re.search(r"//|/\.{1,2}(/|$)", path):
        msg = "it has an empty part, or one that is `.` or `..`"
        raise ValueError(msg)
    return path


def _of_names(pattern: str) -> str:
    if re.search(r"/\.[.*]*(/|$)", pattern):
        msg = "a part of dots and `*` only also matches `..`, the folder above"
        raise ValueError(msg)
    return pattern


def _in_quotes(mode: object) -> object:
    if isinstance(mode, int):
        msg = 'write it in quotes, as in "0640": YAML reads it as a number otherwise'
        raise ValueError(msg)  # noqa: TRY004 - pydantic reports ValueError
    return mode


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ImagePath = Annotated[
    str,
    StringConstraints(pattern=r"^/[A-Za-z0-9._@:+/-]*[A-Za-z0-9._@:+-]$", max_length=400),
    BeforeValidator(lambda path: _without_detours(path) if isinstance(path, str) else path),
]
"""Absolute path of a file or a folder, without links: those of an image may lead out of it."""

PathPattern = Annotated[
    str,
    StringConstraints(pattern=r"^/[A-Za-z0-9._@:+-]+/[A-Za-z0-9._@:+/*-]*$", max_length=400),
    BeforeValidator(lambda path: _without_detours(path) if isinstance(path, str) else path),
    AfterValidator(_of_names),
]
"""Absolute path below a folder. `*` stands for any characters of a name but a dot at its start."""

FileMode = Annotated[str, BeforeValidator(_in_quotes), StringConstraints(pattern=r"^0[0-7]{3,4}$")]
Owner = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]*:[a-z_][a-z0-9_-]*$")]
"""User and group, as in `root:adm`."""

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,30}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
UnitName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9:_.@-]+\.(service|socket|timer|path|target|mount|slice)$",
        max_length=200,
    ),
]
SysctlName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+(\.[A-Za-z0-9_-]+)+$")]
SysctlValue = Annotated[
    str,
    BeforeValidator(_as_text),
    StringConstraints(pattern=r"^[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*$"),
]


class _Part(BaseModel):
    """A part of a contract. An unknown key is an error: what it asks for would be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileOnServer(_Part):
    """A file that the build fetches.

    Attributes:
        url: where it is.
        sha256: of its content; another content ends the build.
    """

    url: HttpUrl
    sha256: Sha256


class Download(_Part):
    """A package that no apt source of the distribution has.

    Attributes:
        package: its name.
        files: its .deb by the architecture of the image.
    """

    package: PackageName
    files: Mapping[ArchitectureName, FileOnServer] = Field(min_length=1)


class Directory(_Part):
    """A directory.

    Attributes:
        path: of it.
        mode: in octal digits, in quotes.
        owner: user and group.
    """

    path: ImagePath
    mode: FileMode = "0755"
    owner: Owner = "root:root"


class ImageFile(_Part):
    """A file.

    Attributes:
        path: of it.
        mode: in octal digits, in quotes.
        owner: user and group.
        content: the whole text of it; the build writes it.
        sha256: of its content, where a package brings the file.
        filled_at_first_boot: the first boot writes it, so only an image has this content.
        check: a command that reads the file and ends with an error if it is wrong, run by the build
            once everything is in place.
    """

    path: ImagePath
    mode: FileMode = "0644"
    owner: Owner = "root:root"
    content: str | None = Field(default=None, max_length=65536)
    sha256: Sha256 | None = None
    filled_at_first_boot: bool = False
    check: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_one_content(self) -> Self:
        if self.content is not None and self.sha256 is not None:
            msg = "it has both `content` and `sha256`"
            raise ValueError(msg)
        if self.content is not None and "\0" in self.content:
            msg = "`content` has a NUL"
            raise ValueError(msg)
        return self


class DropIn(_Part):
    """A drop-in of a systemd unit.

    Attributes:
        unit: whose it is; the unit itself may come later, with a package.
        name: of the file, as in `10-environment.conf`.
        content: of the file.
    """

    unit: UnitName
    name: Annotated[FileName, StringConstraints(pattern=r"\.conf$")]
    content: str = Field(min_length=1, max_length=65536)

    @property
    def file(self) -> ImageFile:
        """The file that it is."""
        path = f"/etc/systemd/system/{self.unit}.d/{self.name}"
        return ImageFile(path=path, content=self.content)


class User(_Part):
    """A user without a password.

    Attributes:
        name: of the account.
        shell: that it logs in with.
        groups: that it is in, besides its own.
    """

    name: AccountName
    shell: ImagePath = "/bin/bash"
    groups: tuple[AccountName, ...] = ()


class Certificate(_Part):
    """A certificate of an authority that the image trusts, besides those of the distribution.

    Attributes:
        name: of its file, without the suffix.
        sha256: of its file.
        pem: its text.
        url: where the build fetches it, if its text is not here.
    """

    name: FileName
    sha256: Sha256
    pem: str = Field(default="", max_length=65536)
    url: HttpUrl | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.pem) == (self.url is not None):
            msg = "it needs either `pem` or `url`"
            raise ValueError(msg)
        return self

    @property
    def path(self) -> ImagePath:
        """The path of its file."""
        return f"/usr/local/share/ca-certificates/{self.name}.crt"


class Absent(_Part):
    """What no image and no machine has.

    Attributes:
        packages: that are not installed, and of which no configuration is left.
        paths: that do not exist.
        units: that no boot starts: they are not enabled, or masked.
    """

    packages: tuple[PackageName, ...] = ()
    paths: tuple[PathPattern, ...] = ()
    units: tuple[UnitName, ...] = ()


class AbsentUntilFirstBoot(_Part):
    """What no image has, and what its machines get.

    Attributes:
        packages: that are not installed, as that of the service: releases bring it.
        paths: that do not exist: keys, logs, and what else is of one machine only.
        passwords: no account has a password.
    """

    packages: tuple[PackageName, ...] = ()
    paths: tuple[PathPattern, ...] = ()
    passwords: bool = True


class Contract(_Part):
    """What each image holds, and what it does not hold.

    Attributes:
        packages: of the distribution; what they depend on comes with them.
        downloads: packages from elsewhere.
        directories: in the order in which they are made.
        files: in the order in which they are written.
        drop_ins: of systemd units.
        users: without passwords.
        masked: systemd units that cannot be started.
        sysctls: settings of the kernel, by name.
        certificates: of authorities.
        absent: what no image and no machine has.
        absent_until_first_boot: what no image has.
    """

    packages: tuple[PackageName, ...] = Field(min_length=1)
    downloads: tuple[Download, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[ImageFile, ...] = ()
    drop_ins: tuple[DropIn, ...] = ()
    users: tuple[User, ...] = ()
    masked: tuple[UnitName, ...] = ()
    sysctls: Mapping[SysctlName, SysctlValue] = Field(default_factory=dict)
    certificates: tuple[Certificate, ...] = ()
    absent: Absent = Absent()
    absent_until_first_boot: AbsentUntilFirstBoot = AbsentUntilFirstBoot()
