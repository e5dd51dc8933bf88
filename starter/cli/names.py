"""Arguments and options that are names, validated before anything is asked or started."""

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from relight.context import RESERVED, ContextName
from relight.domain.image.image import ImageName
from relight.domain.names import (
    ReleaseTag,
    Revision,
    RouteId,
    TrackName,
)
from relight.domain.rollout.strategy import WaveSize, why_not_growing
from starter.cli import completion

GROWING = (
    "each wave's size is the number of routes reached when it ends, as in "
    "--wave 1 --wave 25% --wave 100%"
)


def checked(kind: Any, text: str, expected: str) -> str:
    """Return a text that is valid for a type.

    Args:
        kind: the type, with its constraints.
        text: the text as typed.
        expected: what it should be, with an example.

    Raises:
        typer.BadParameter: it is not valid.
    """
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        first = error.errors()[0]
        detail = f" ({first['msg'].removeprefix('Value error, ')})" if "ctx" in first else ""
        detail = "" if first["type"] == "string_pattern_mismatch" else detail
        msg = f"{text!r} is not {expected}{detail}"
        raise typer.BadParameter(msg) from None


def tag_of(text: str) -> str:
    """Return a valid release tag, or an exact Debian version.

    Raises:
        typer.BadParameter: it is not valid.
    """
    return checked(
        ReleaseTag,
        text,
        "a release: neither a tag, as in v0.0.74, nor a version, as in 1.22.1-9+deb12u11",
    )


def tag_or_none(text: str | None) -> str | None:
    """Return a valid release tag, None if the option is not given.

    Raises:
        typer.BadParameter: it is not valid.
    """
    return None if text is None else tag_of(text)


def image_name_of(text: str) -> str:
    """Return a valid name of an image.

    Raises:
        typer.BadParameter: it is not valid.
    """
    return checked(ImageName, text, "an image's name, as in relight-base-0.0.74-amd64")


def rolled_out_or_none(text: str | None) -> str | None:
    """Return what a rollout is of, the name of an image or a release; None if it is not given.

    Raises:
        typer.BadParameter: it is the name of neither.
    """
    try:
        return None if text is None else image_name_of(text)
    except typer.BadParameter:
        return tag_or_none(text)


def track_or_none(text: str | None) -> str | None:
    """Return a valid track name, None if the option is not given.

    Raises:
        typer.BadParameter: it is not valid.
    """
    return None if text is None else _track(text)


def route_id_of(text: str) -> str:
    """Return a valid route id.

    Raises:
        typer.BadParameter: it is not valid.
    """
    return checked(RouteId, text, "a route id: lower-case letters, digits and hyphens, at most 48")


def route_or_none(text: str | None) -> str | None:
    """Return a valid route id, None if the option is not given.

    Raises:
        typer.BadParameter: it is not valid.
    """
    return None if text is None else route_id_of(text)


def revision_argument(text: str) -> str:
    """Return a valid revision of a configuration.

    Raises:
        typer.BadParameter: it is not valid.
    """
    return checked(Revision, text, "a revision: 12 digits, as in 3f2a91bc04de")


def context_name_of(text: str) -> str:
    """Return a name for a context.

    Raises:
        typer.BadParameter: it is not valid, or means something already.
    """
    if text in RESERVED:
        msg = f"{text!r} is no name for a saved context: it means something already"
        raise typer.BadParameter(msg)
    return checked(ContextName, text, "a name: lower-case letters, digits and hyphens")


def _track(text: str) -> str:
    return checked(TrackName, text, "a track name: lower-case letters, digits and hyphens")


def _routes(texts: list[str] | None) -> list[str]:
    return [route_id_of(text) for text in texts or []]


def _waves(texts: list[str] | None) -> list[str]:
    waves = [checked(WaveSize, text, "a wave size, as in 2 or 25%") for text in texts or []]
    if why := why_not_growing(waves):
        msg = f"{why}: {GROWING}"
        raise typer.BadParameter(msg)
    return waves


TagArgument = Annotated[
    str,
    typer.Argument(
        callback=tag_of,
        autocompletion=completion.tags,
        help="The release: a tag or an exact version.",
    ),
]
UncheckedOption = Annotated[
    bool,
    typer.Option(
        "--unchecked",
        help="Do not check whether the repository has the release, as while it does not answer.",
        show_default=False,
    ),
]
FindTagArgument = Annotated[
    str | None,
    typer.Argument(
        callback=rolled_out_or_none,
        autocompletion=completion.tags,
        help="Its release or image. Default: the rollout that is running, else the newest.",
    ),
]
OverrideOption = Annotated[
    str | None,
    typer.Option(
        "--release",
        callback=tag_or_none,
        autocompletion=completion.tags,
        help="The release that its routes should run: a tag or an exact version.",
    ),
]
OptionalTrackArgument = Annotated[
    str | None,
    typer.Argument(
        callback=track_or_none,
        autocompletion=completion.tracks,
        help="The track. Default: all.",
    ),
]
TrackArgument = Annotated[str, typer.Argument(callback=_track, autocompletion=completion.tracks)]
TrackOption = Annotated[
    str,
    typer.Option(
        "--track", "-t", callback=_track, autocompletion=completion.tracks, help="Their track."
    ),
]
MoveTrackOption = Annotated[
    str,
    typer.Option(
        "--track", "-t", callback=_track, autocompletion=completion.tracks, help="Its new track."
    ),
]
ScopeTrackOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        "-t",
        callback=track_or_none,
        autocompletion=completion.tracks,
        help="Change this track's override instead of the fleet's default release.",
    ),
]
FindTrackOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        "-t",
        callback=track_or_none,
        autocompletion=completion.tracks,
        help="The rollout of this track. Default: with TAG the fleet's, without TAG any.",
    ),
]
FilterTrackOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        "-t",
        callback=track_or_none,
        autocompletion=completion.tracks,
        help="Only routes of this track.",
    ),
]
RouteArgument = Annotated[
    str, typer.Argument(callback=route_id_of, autocompletion=completion.routes)
]
RoutesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        callback=_routes, autocompletion=completion.routes, help="Their ids, as in eu-1."
    ),
]


def _waves_option(default: str) -> Any:
    return typer.Option(
        "--wave",
        "-w",
        metavar="SIZE",
        callback=_waves,
        help="How many routes are reached when the wave ends: a count or a share. Repeat it for "
        f"each wave; the remaining routes make a last wave.  \\[default: {default}]",
        rich_help_panel="Strategy",
    )


WavesOption = Annotated[list[str] | None, _waves_option("1, 25%, 100%")]
UndoWavesOption = Annotated[list[str] | None, _waves_option("5%, 100%")]
