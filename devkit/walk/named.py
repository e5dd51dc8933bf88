"""The commands that a message names, as an operator types them."""

import re
import shlex
from collections.abc import Sequence

from relight.domain.fault.table import RULES
from relight.domain.names import ReleaseTag
from relight.domain.route import Route

_COMMAND = re.compile(r"`relight ([^`]+)`")
_KIND = re.compile(r"\bfault +([a-z-]+) \(")
_READS = frozenset({"show", "list", "status", "why", "watch", "wait", "get", "plan", "--dry-run"})
_OTHERS = frozenset({"worker", "up", "store", "settings", "track", "release", "fleet", "schedule"})
"""Commands that concern no single route."""

_ENDS = (("route", "retire"), ("machine", "keep"))
"""They lead away: from every release, and from a removal that only a person finds wrong."""


def fault_kind(printed: str) -> str | None:
    """Return the kind of the fault that a command printed, None if it printed none."""
    found = _KIND.search(unwrapped(printed))
    return found[1] if found else None


def named_commands(text: str, route: Route, tag: ReleaseTag) -> list[tuple[str, ...]]:
    """Return the commands that a text names and that may bring a route to a release.

    Args:
        text: what a command printed, or the advice of a fault.
        route: the route, for `ROUTE`, `REGION` and what else a command needs.
        tag: the release, for `TAG`.
    """
    found: list[tuple[str, ...]] = []
    for command in _COMMAND.findall(unwrapped(text)):
        words = tuple(shlex.split(command))
        if words[0] in _OTHERS or words[:2] in _ENDS or not _READS.isdisjoint(words):
            continue
        values = {"ROUTE": route.route_id, "TAG": tag, "REGION": route.region, "TRACK": route.track}
        typed = tuple(values.get(word, word) for word in words)
        if typed[:2] == ("route", "provision"):
            typed += ("--track", route.track, "--provider", route.provider)
        if typed[:2] == ("rollout", "start"):
            # For one route this is what `route swap` does, and it disturbs no other.
            typed = ("route", "swap", route.route_id, tag)
        found.append(typed)
    return found


def advice(kind: str | None) -> str:
    """Return the advice about a kind of fault; empty if there is none."""
    rule = RULES.get(kind or "")
    return "" if rule is None else rule.advice


def unwrapped(text: str) -> str:
    """Return printed text without frames and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def controls_named(why: str) -> Sequence[str]:
    """Return the controls of a rollout that `relight rollout why` names as what to do."""
    _, _, to_do = why.partition("to do: ")
    return re.findall(r"(?:relight rollout |, or |or )(resume|approve|abort)\b", to_do)
