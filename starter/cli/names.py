"""Names as people type them, checked before anything is asked or started."""

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from relight.domain.names import (
    ReleaseTag,
    RouteId,
    TrackName,
)
from relight.domain.rollout.rollout import WaveSize


def checked(kind: Any, name: str, likeness: str) -> str:
    """Return a word as it was typed.

    Args:
        kind: the shape that it has to have.
        name: the word.
        likeness: what it should have been, with an example.

    Raises:
        typer.BadParameter: it has another shape.
    """
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    try:
        return adapter.validate_python(name)
    except ValidationError as error:
        first = error.errors()[0]
        why = f" ({first['msg'].removeprefix('Value error, ')})" if "ctx" in first else ""
        why = "" if first["type"] == "string_pattern_mismatch" else why
        msg = f"{name!r} is not {likeness}{why}"
        raise typer.BadParameter(msg) from None


def tag_of(name: str) -> str:
    """Return a release tag as it was typed.

    Raises:
        typer.BadParameter: it is none.
    """
    return checked(ReleaseTag, name, "a release tag, as in v0.0.74")


def tag_or_none(name: str | None) -> str | None:
    """Return a release tag as it was typed, if it was.

    Raises:
        typer.BadParameter: it is none.
    """
    return None if name is None else tag_of(name)


def _track(name: str) -> str:
    return checked(TrackName, name, "a track's name: lower-case letters, digits and hyphens")


def track_or_none(name: str | None) -> str | None:
    """Return a track's name as it was typed, if it was.

    Raises:
        typer.BadParameter: it is none.
    """
    return None if name is None else _track(name)


def route_id_of(name: str) -> str:
    """Return a route's id as it was typed.

    Raises:
        typer.BadParameter: it is none.
    """
    return checked(
        RouteId, name, "a route's id: lower-case letters, digits and hyphens, 48 at most"
    )


def _routes(names: list[str] | None) -> list[str]:
    return [route_id_of(name) for name in names or []]


def _waves(sizes: list[str] | None) -> list[str]:
    return [checked(WaveSize, size, "a wave's size, as in 2 or 25%") for size in sizes or []]


TagArgument = Annotated[str, typer.Argument(callback=tag_of, help="The release, as in v0.0.74.")]
FindTagArgument = Annotated[
    str | None,
    typer.Argument(
        callback=tag_or_none,
        help="Its release. Without it, the rollout that runs, or else the newest.",
    ),
]
OverrideOption = Annotated[
    str | None,
    typer.Option(
        "--release",
        callback=tag_or_none,
        help="The release that its routes should run, as in v0.0.74.",
    ),
]
OptionalTrackArgument = Annotated[
    str | None, typer.Argument(callback=track_or_none, help="One track; without it, all.")
]
TrackArgument = Annotated[str, typer.Argument(callback=_track)]
TrackOption = Annotated[str, typer.Option("--track", "-t", callback=_track, help="Their track.")]
ScopeTrackOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        "-t",
        callback=track_or_none,
        help="The track whose override it moves; without it, the fleet's default.",
    ),
]
FindTrackOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        "-t",
        callback=track_or_none,
        help="The rollout of this track's override. With TAG and without it, of the fleet.",
    ),
]
FilterTrackOption = Annotated[
    str | None,
    typer.Option("--track", "-t", callback=track_or_none, help="Of this track alone."),
]
RouteArgument = Annotated[str, typer.Argument(callback=route_id_of)]
RoutesArgument = Annotated[
    list[str] | None,
    typer.Argument(callback=_routes, help="Their ids, as in eu-1."),
]
WavesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--wave",
        "-w",
        metavar="SIZE",
        callback=_waves,
        help="How far it has come after a wave: a count or a share. Once for each wave; what is "
        "left makes a last one.  \\[default: 1, 25%, 100%]",
        rich_help_panel="Strategy",
    ),
]
