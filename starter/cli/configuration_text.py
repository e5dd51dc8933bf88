"""The differences between the files that routes have, and those that they would get."""

import difflib
from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from relight.domain.names import RouteId


class FileDifference(BaseModel):
    """How one file changes.

    Attributes:
        diff: lines of a unified diff, without line ends.
    """

    path: str
    diff: tuple[str, ...]


class Difference(BaseModel):
    """What changes in the same way on some routes."""

    routes: tuple[RouteId, ...]
    files: tuple[FileDifference, ...]


def differences(
    routes: Iterable[tuple[RouteId, Mapping[str, str], Mapping[str, str]]],
) -> list[Difference]:
    """Return what changes, once for all routes where the same does; what stays is left out.

    Args:
        routes: of each its id, the text of its files by their paths, and that of the new ones.
    """
    groups: dict[tuple[tuple[str, tuple[str, ...]], ...], list[RouteId]] = {}
    for route_id, old, new in routes:
        changed = tuple(
            (path, _diff(path, old.get(path), new.get(path)))
            for path in sorted({*old, *new})
            if old.get(path) != new.get(path)
        )
        if changed:
            groups.setdefault(changed, []).append(route_id)
    return [
        Difference(
            routes=tuple(route_ids),
            files=tuple(FileDifference(path=path, diff=diff) for path, diff in changed),
        )
        for changed, route_ids in groups.items()
    ]


def _diff(path: str, old: str | None, new: str | None) -> tuple[str, ...]:
    return tuple(
        difflib.unified_diff(
            (old or "").splitlines(),
            (new or "").splitlines(),
            "/dev/null" if old is None else path,
            "/dev/null" if new is None else path,
            lineterm="",
        )
    )
