"""The service's configuration: templates of files, and values for the fleet, its tracks and routes.

A configuration is never changed: its revision is a digest of all that it contains. A release with a
configuration is named `TAG@REVISION`, so it is rolled out, proven and rolled back as one thing.

Secrets are named in templates, as `secrets.NAME`. Their values are not part of it.
"""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    model_validator,
)

from relight.domain.base import Message
from relight.domain.names import REVISION_LENGTH, RouteId, TrackName

MAX_BYTES = 256 * 1024
"""Upper limit of a configuration as JSON, and of all files that one host gets."""

MAX_FILES = 200
MAX_VALUES = 500
"""Of the fleet, of each track and of each route."""

FOLDERS = ("/etc", "/opt", "/srv", "/usr/local", "/var/lib")
"""Where files of a configuration may be."""

NOT_CONFIGURED = (
    *("/etc/apt", "/etc/group", "/etc/gshadow", "/etc/pam.d", "/etc/passwd", "/etc/relight"),
    *("/etc/shadow", "/etc/ssh", "/etc/sudo.conf", "/etc/sudoers", "/etc/sudoers.d"),
    *("/usr/local/lib/relight", "/var/lib/apt", "/usr/local/sbin/relight-host"),
    *("/var/lib/cloud", "/var/lib/dpkg", "/var/lib/relight"),
)
"""Below them only what is not the control plane's access, and not what it knows about a host."""


class OnConfigurationChange(StrEnum):
    """How the service takes a change of its configuration.

    Attributes:
        RESTART: its units are restarted.
        RELOAD: its units are reloaded, or restarted if they cannot be.
        NONE: it reads its files by itself.
    """

    RESTART = "restart"
    RELOAD = "reload"
    NONE = "none"


def _host_path(path: str) -> str:
    parts = path.split("/")[1:]
    if "." in parts or ".." in parts:
        msg = "it has a part `.` or `..`"
        raise ValueError(msg)
    if not any(path.startswith(f"{folder}/") for folder in FOLDERS):
        msg = f"it is in none of {', '.join(FOLDERS)}"
        raise ValueError(msg)
    for own in NOT_CONFIGURED:
        if path == own or path.startswith(f"{own}/"):
            msg = f"{own} is not the service's"
            raise ValueError(msg)
    return path


HostPath = Annotated[
    str,
    StringConstraints(pattern=r"^(/[A-Za-z0-9._@+-]+)+$", max_length=512),
    AfterValidator(_host_path),
]
"""Absolute path of a file of the configuration."""

FileMode = Annotated[str, StringConstraints(pattern=r"^0[4-7][0-7]{2}$")]
"""In octal digits, as in `0640`."""

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
"""A user or a group of a host."""


def _value_name(name: str) -> str:
    if hasattr(dict, name):  # as `items`: `values.items` is something else in a template
        msg = f"{name} is a word of templates"
        raise ValueError(msg)
    return name


ValueName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$"), AfterValidator(_value_name)
]


def _plain_number(number: float) -> int | float:
    # PostgreSQL writes numbers in its own way, and the revision is a digest of what is written.
    return int(number) if number.is_integer() else number


Value = (
    StrictBool
    | StrictInt
    | Annotated[StrictFloat, Field(allow_inf_nan=False), AfterValidator(_plain_number)]
    | Annotated[str, StringConstraints(max_length=4096, strict=True)]
)

Values = Annotated[dict[ValueName, Value], Field(max_length=MAX_VALUES)]


class ConfiguredMachine(Message):
    """What templates see of a machine, as `plan`.

    Attributes:
        key: its key.
        route_id: the route that it serves, None in the pool.
        track: the route's track, None in the pool.
        provider: name of its provider's driver.
        region: the provider's name of its region.
    """

    key: str
    route_id: RouteId | None
    track: TrackName | None
    provider: str
    region: str


class ConfigurationFile(Message):
    """A file of the configuration.

    Attributes:
        path: on each host.
        template: in Jinja.
        mode: of one that uses a secret, only the owner's part of it counts.
        owner: its user.
        group: its group.
    """

    path: HostPath
    template: str
    mode: FileMode = "0644"
    owner: AccountName = "root"
    group: AccountName = "root"


class Configuration(Message):
    """All that a configuration contains.

    Attributes:
        files: in the order of their paths.
        parts: templates that others include, by their names.
        check: the service's own check, a program and its arguments, run on a host where it finds
            the new files at their places; empty for none.
        on_change: how the service takes a change.
        values: of the whole fleet, for templates.
        tracks: values of a track, which count before the fleet's.
        routes: values of a route, which count before its track's.
    """

    files: Annotated[tuple[ConfigurationFile, ...], Field(min_length=1, max_length=MAX_FILES)]
    parts: dict[str, str] = Field(default_factory=dict, max_length=MAX_FILES)
    check: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    on_change: OnConfigurationChange = OnConfigurationChange.RESTART
    values: Values = Field(default_factory=dict)
    tracks: dict[TrackName, Values] = Field(default_factory=dict)
    routes: dict[RouteId, Values] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_bounded_and_sorted(self) -> Self:
        paths = [each.path for each in self.files]
        if paths != sorted(set(paths)):
            msg = "files are not in the order of their paths, or one is there twice"
            raise ValueError(msg)
        if "\\u0000" in self.canonical.replace("\\\\", ""):
            msg = "it has a NUL, which no text has"
            raise ValueError(msg)
        size = len(self.canonical.encode())
        if size > MAX_BYTES:
            msg = f"it has {size} bytes as JSON; at most {MAX_BYTES} are kept"
            raise ValueError(msg)
        return self

    @property
    def canonical(self) -> str:
        """Its only form as JSON."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)

    @property
    def revision(self) -> str:
        """Its name: the beginning of the SHA-256 of its JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:REVISION_LENGTH]

    def values_for(self, track: TrackName | None, route_id: RouteId | None) -> Mapping[str, Value]:
        """Return the values for a route; for a machine of the pool those of the fleet."""
        return {
            **self.values,
            **self.tracks.get(track or "", {}),
            **self.routes.get(route_id or "", {}),
        }
