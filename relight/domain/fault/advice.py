"""Advice about a fault of one thing: each command in it can be typed as it stands."""

import re
import shlex
from typing import NamedTuple

from relight.domain.fault.table import RULES
from relight.domain.image.image import ImageName
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.route import Route

_COMMAND = re.compile(r"`relight [^`]+`")
_PLACEHOLDER = re.compile(r"\b(ROUTE|TAG|TRACK|REGION|KEY|IMAGE)\b")
_NAME_OF_COMMAND = re.compile(r"relight(?: [a-z][a-z-]*(?![^ `]))+")


class FaultSubject(NamedTuple):
    """What a fault is about. What is not known is None.

    Attributes:
        release_tag: the release that the route was to be brought to.
    """

    route_id: RouteId | None = None
    release_tag: ReleaseTag | None = None
    track: str | None = None
    region: str | None = None
    machine_key: str | None = None
    image: ImageName | None = None


UNKNOWN = FaultSubject()


def subject_of(route: Route) -> FaultSubject:
    """Return a route as the subject of a fault."""
    return FaultSubject(
        route.route_id,
        route.target_release_tag,
        route.track,
        route.region,
        route.machine.key if route.machine else None,
    )


def advice_about(kind: str, subject: FaultSubject) -> str:
    """Return what to do about a fault; empty for a kind of a newer version.

    A command with a value that is not known is replaced with its help, which says how to type it.
    """
    rule = RULES.get(kind)
    if rule is None:
        return ""
    values = {
        "ROUTE": subject.route_id,
        "TAG": subject.release_tag,
        "TRACK": subject.track,
        "REGION": subject.region,
        "KEY": subject.machine_key,
        "IMAGE": subject.image,
    }

    def typed(found: re.Match[str]) -> str:
        command = " ".join(found[0].split())
        names = set(_PLACEHOLDER.findall(command))
        if any(values[name] is None for name in names):
            named = _NAME_OF_COMMAND.search(command)
            return f"`{named[0] if named else 'relight'} --help`"
        return _PLACEHOLDER.sub(lambda name: shlex.quote(values[name[0]] or ""), command)

    return _COMMAND.sub(typed, rule.advice)
