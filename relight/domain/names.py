"""The names by which things are known: their shapes, and the ids derived from them."""

import re
from typing import Annotated

from pydantic import StringConstraints

RouteId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
"""A route's id: lower-case letters, digits and inner hyphens, at most 48, as in a host name."""

TrackName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
"""A track's name, of the same shape as a route's id."""

ReleaseTag = Annotated[
    str, StringConstraints(pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+([-+~.][0-9A-Za-z][0-9A-Za-z.~+-]*)?$")
]
"""A release's tag as release automation writes it: `v0.0.74`, `v1.2.0-rc.1`."""

ScopeName = Annotated[
    str, StringConstraints(pattern=r"^(fleet|track:[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?)$")
]
"""What one declaration governs: `fleet` (the default release) or `track:NAME` (an override)."""

CheckName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
"""The name of a gate's check, of the same shape as a route's id."""

OwnerTag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
"""What our machines are tagged with at their providers, of the same shape as a route's id."""

FLEET_SCOPE: ScopeName = "fleet"

_NUMBERED = re.compile(r".+-g?([1-9][0-9]*)")

DEFAULT_RELEASE_SETTING = "default_release_tag"
"""The setting that declares the release of every track without an override."""


def track_scope(track: TrackName) -> ScopeName:
    """Return the scope that a track's own override governs."""
    return f"track:{track}"


def scope_track(scope: ScopeName) -> TrackName | None:
    """Return the track that a scope names, None for the whole fleet."""
    return scope.removeprefix("track:") if scope.startswith("track:") else None


def machine_key(route_id: RouteId, generation: int) -> str:
    """Return the key of a route's machine: its label at the provider and its host name."""
    return f"{route_id}-g{generation}"


def key_number(key: str) -> int:
    """Return the number at the end of a machine's key, which its tag says; 0 without one.

    A machine bears one generation for all its life: that of its key, also where it was made for
    the pool and is a route's machine of another generation since.
    """
    numbered = _NUMBERED.fullmatch(key)
    return int(numbered[1]) if numbered else 0


def route_workflow_id(route_id: RouteId) -> str:
    """Return the id under which every operation on a route runs: the id is the route's lock."""
    return f"route/{route_id}"


def rollout_workflow_id(tag: ReleaseTag, scope: ScopeName) -> str:
    """Return the id of a release's rollout over a scope."""
    return f"rollout/{tag}/{scope}"
