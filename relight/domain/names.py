"""Names: their format, and the ids that are derived from them."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

RouteId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
"""Id of a route: up to 48 lower-case letters, digits and inner hyphens, as in a host name."""

TrackName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
"""Name of a track, in the format of a route's id."""

MAX_VERSION_LENGTH: Final = 128
"""Of a version and of a tag: both are in names of operations, in file names and in tables."""

REVISION_LENGTH: Final = 12
"""Digits of the revision of a configuration."""

_VERSION = r"([0-9]{1,9}:)?[0-9]([A-Za-z0-9.+~]*|[A-Za-z0-9.+~-]*-[A-Za-z0-9.+~]+)"
_TAG = r"v[0-9]+(\.[0-9A-Za-z]+)*([-+~][0-9A-Za-z][0-9A-Za-z.~+-]*)?"

DebianVersion = Annotated[
    str, StringConstraints(pattern=f"^{_VERSION}$", max_length=MAX_VERSION_LENGTH)
]
"""Version of a package by Debian's policy, 5.6.12, without colons in its upstream part. apt reads
`NAME=1.0-`, whose revision is empty, as an order to remove the package."""

PackageTag = Annotated[
    str, StringConstraints(pattern=f"^({_TAG}|{_VERSION})$", max_length=MAX_VERSION_LENGTH)
]
"""What names a release of the package: a tag as release automation writes it (`v0.0.74`,
`v1.2.0-rc.1`), or an exact Debian version (`5:7.0.15-1~deb12u10`). A version begins with a digit, a
tag never does."""

Revision = Annotated[str, StringConstraints(pattern=f"^[0-9a-f]{{{REVISION_LENGTH}}}$")]
"""Revision of the service's configuration."""


def _with_short_package(tag: str) -> str:
    if len(tag.partition("@")[0]) > MAX_VERSION_LENGTH:
        msg = f"it has more than {MAX_VERSION_LENGTH} characters"
        raise ValueError(msg)
    return tag


ReleaseTag = Annotated[
    str,
    StringConstraints(
        pattern=f"^({_TAG}|{_VERSION})(@[0-9a-f]{{{REVISION_LENGTH}}})?$",
        max_length=MAX_VERSION_LENGTH + 1 + REVISION_LENGTH,
    ),
    AfterValidator(_with_short_package),
]
"""What names a release: that of the package and, if it has one, the revision of its configuration,
as in `v0.0.74@3f2a91bc04de`."""

PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]
"""Name of a package by Debian's policy, 5.6.1."""

ScopeName = Annotated[
    str, StringConstraints(pattern=r"^(fleet|track:[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?)$")
]
"""Scope of a declaration: `fleet` (the default release) or `track:NAME` (an override)."""

CheckName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
"""Name of a gate's check, in the format of a route's id."""

OwnerTag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
"""Tag of our machines at their providers, in the format of a route's id."""

FLEET_SCOPE: ScopeName = "fleet"

_NUMBERED = re.compile(r".+-g?([1-9][0-9]*)")

DEFAULT_RELEASE_SETTING = "default_release_tag"
"""The setting that declares the release of every track without an override."""


def package_tag(tag: ReleaseTag) -> PackageTag:
    """Return what names the package in the name of a release."""
    return tag.partition("@")[0]


def revision_of(tag: ReleaseTag) -> Revision | None:
    """Return the revision of a release's configuration, None if it has none."""
    return tag.partition("@")[2] or None


def with_revision(tag: ReleaseTag, revision: Revision | None) -> ReleaseTag:
    """Return a release with another configuration, or without one."""
    return f"{package_tag(tag)}@{revision}" if revision else package_tag(tag)


def track_scope(track: TrackName) -> ScopeName:
    """Return the scope of a track's own override."""
    return f"track:{track}"


def scope_track(scope: ScopeName) -> TrackName | None:
    """Return the track of a scope, None for the whole fleet."""
    return scope.removeprefix("track:") if scope.startswith("track:") else None


def machine_key(route_id: RouteId, generation: int) -> str:
    """Return the key of a route's machine: its label at the provider and its host name."""
    return f"{route_id}-g{generation}"


def key_number(key: str) -> int:
    """Return the number at the end of a machine's key, 0 without one.

    It is the machine's generation, also in its tag, and never changes. For a machine that a route
    claimed from the pool it differs from the route's own generation number.
    """
    numbered = _NUMBERED.fullmatch(key)
    return int(numbered[1]) if numbered else 0


def route_workflow_id(route_id: RouteId) -> str:
    """Return the workflow id of every operation on a route. The id is the route's lock."""
    return f"route/{route_id}"


ROLLOUT_PREFIX: Final = "rollout/"
"""What the workflow ids of rollouts begin with."""


def machine_workflow_id(key: str) -> str:
    """Return the workflow id of a machine's removal. The id is the lock of a draining machine."""
    return f"machine/{key}"


def rollout_workflow_id(tag: ReleaseTag, scope: ScopeName, *, undo: bool = False) -> str:
    """Return the workflow id of a release's rollout over a scope, or of its undo."""
    return f"{ROLLOUT_PREFIX}{tag}/{scope}/undo" if undo else f"{ROLLOUT_PREFIX}{tag}/{scope}"


def image_rollout_workflow_id(image_name: str, scope: ScopeName) -> str:
    """Return the workflow id of an image's rollout over a scope."""
    return f"{ROLLOUT_PREFIX}image:{image_name}/{scope}"


def rollout_tag(workflow_id: str) -> ReleaseTag:
    """Return the release tag in the workflow id of a rollout or an undo."""
    return workflow_id.removeprefix(ROLLOUT_PREFIX).partition("/")[0]


# Attributes of log lines: OpenTelemetry's names where it defines one.
LOG_HOST: Final = "host.name"
"""The key of the machine, which is also its host name."""

LOG_ADDRESS: Final = "host.ip"
LOG_ROUTE: Final = "route.id"
LOG_TRACK: Final = "track.name"
LOG_PROVIDER: Final = "cloud.provider"
LOG_REGION: Final = "cloud.region"
LOG_RELEASE: Final = "release.tag"

LOG_ROLLOUT: Final = "rollout.id"
"""The rollout's workflow id."""

LOG_WORKFLOW: Final = "workflow.id"
LOG_RUN: Final = "workflow.run_id"
LOG_ACTIVITY: Final = "activity.type"
LOG_ATTEMPT: Final = "activity.attempt"
LOG_FAULT: Final = "error.type"
LOG_FAULT_CLASS: Final = "fault.class"


def workflow_attributes(workflow_id: str | None, run_id: str | None) -> dict[str, str]:
    """Return the attributes of a workflow, and the route or rollout that its id names."""
    kind, _, rest = (workflow_id or "").partition("/")
    attributes = {
        LOG_WORKFLOW: workflow_id,
        LOG_RUN: run_id,
        LOG_ROUTE: rest if kind == "route" else None,
        LOG_ROLLOUT: workflow_id if kind == "rollout" else None,
    }
    return {name: value for name, value in attributes.items() if value}
