"""The configuration that goes with a release: the one that was named, else the one from before."""

from typing import TYPE_CHECKING, Annotated

import typer

from relight.domain.names import (
    DEFAULT_RELEASE_SETTING,
    ReleaseTag,
    ScopeName,
    revision_of,
    scope_track,
    with_revision,
)
from starter.cli.errors import BadInputError
from starter.cli.names import revision_argument

if TYPE_CHECKING:  # slow to import
    from relight.store.store import Store

NONE = "none"


def _revision_or_none(text: str | None) -> str | None:
    return text if text in {None, NONE} else revision_argument(text)


ConfigurationOption = Annotated[
    str | None,
    typer.Option(
        "--configuration",
        metavar="REVISION",
        callback=_revision_or_none,
        help="The configuration that goes with the release; `none` brings back the files from "
        "before any.  \\[default: the one that is declared now]",
    ),
]


def release_of_scope(
    store: "Store", tag: ReleaseTag, scope: ScopeName, configuration: str | None = None
) -> ReleaseTag:
    """Return a release with its configuration: the named one, else the scope's present one.

    Args:
        store: of the fleet.
        tag: the release, perhaps with a configuration.
        scope: where it is declared.
        configuration: a revision, `none`, or None if it was not named.

    Raises:
        BadInputError: two configurations are named.
    """
    return with_kept(tag, declared_release(store, scope), configuration)


def declared_release(store: "Store", scope: ScopeName) -> ReleaseTag | None:
    """Return the release that is declared for a scope's routes; None if none is."""
    track_name = scope_track(scope)
    track = store.tracks.get(track_name) if track_name else None
    override = track.release_override if track else None
    return override or store.fleet_settings.get(DEFAULT_RELEASE_SETTING)


def with_kept(
    tag: ReleaseTag, present: ReleaseTag | None, configuration: str | None = None
) -> ReleaseTag:
    """Return a release with its configuration: the named one, else that of the present release.

    Raises:
        BadInputError: two configurations are named.
    """
    named = revision_of(tag)
    if configuration is None:
        return tag if named or not present else with_revision(tag, revision_of(present))
    if named and named != configuration:
        msg = f"{tag} and --configuration {configuration} name two configurations"
        raise BadInputError(msg)
    return with_revision(tag, None if configuration == NONE else configuration)
