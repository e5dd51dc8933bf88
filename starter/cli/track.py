"""`relight track`: groups of routes, each with an optional release override."""

from typing import Annotated

import typer

from relight.domain.names import track_scope
from relight.store.errors import UnknownTrackError
from starter.cli.confirmation import YesOption, confirm
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.kept_configuration import release_of_scope
from starter.cli.names import (
    OptionalTrackArgument,
    OverrideOption,
    TrackArgument,
    UncheckedOption,
)
from starter.cli.output import (
    JsonOption,
    print_done,
    print_json,
    print_line,
    print_table,
)
from starter.cli.repository import require_release
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    operation,
)

app = typer.Typer(no_args_is_help=True)


@app.command("set")
def set_(
    name: TrackArgument,
    release: OverrideOption = None,
    follow_default: Annotated[
        bool,
        typer.Option(
            "--follow-default", help="Remove the override: follow the fleet's default release."
        ),
    ] = False,
    unchecked: UncheckedOption = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Create a track, or set its release override. One that the repository lacks is refused.

    Without `@REVISION` the release keeps the configuration that is declared now.

    [bold]Examples:[/]

      relight track set stable                    follows default_release_tag
      relight track set beta --release v0.0.74
      relight track set beta --follow-default
    """
    if release is not None and follow_default:
        msg = "--release and --follow-default exclude each other"
        raise BadInputError(msg)
    with fleet_store() as store:
        if release is not None:
            release = release_of_scope(store, release, track_scope(name))
            require_release(store, release, unchecked=unchecked)
        known = store.tracks.get(name)
        if release is None and not follow_default and known is not None:
            release = known.release_override
        store.tracks.set(name, release, operation(reason))
    print_done(
        f"track {name} {f'is set to {release}' if release else 'follows the default'}",
        {"name": name, "release_override": release},
        as_json=json,
    )


@app.command()
def delete(
    name: TrackArgument,
    *,
    yes: YesOption = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Delete a track that has no route.

    [bold]Example:[/]

      relight track delete beta --reason "its routes are in stable now"
    """
    confirm(f"track {name} is removed from the record", yes=yes)
    with fleet_store() as store:
        refusal = store.deletions.delete_track(name, operation(reason))
    if refusal is not None:
        raise RefusedError(refusal)
    print_done(f"track {name} is deleted", {"name": name}, as_json=json)


@app.command()
def show(
    name: OptionalTrackArgument = None,
    json: JsonOption = False,
) -> None:
    """Show one track, or all.

    [bold]Examples:[/]

      relight track show
      relight track show beta --json
    """
    with fleet_store(reads_only=True) as store:
        tracks = store.tracks.list()
        counts = {track.name: len(store.routes.list(track=track.name)) for track in tracks}
    if name is not None:
        tracks = [track for track in tracks if track.name == name]
        if not tracks:
            raise UnknownTrackError(f"there is no track {name}")
    answers = [
        {
            "name": track.name,
            "release_override": track.release_override,
            "routes": counts[track.name],
        }
        for track in tracks
    ]
    if json:
        print_json(answers[0] if name is not None else answers)
    elif not tracks:
        print_line("no tracks yet: create one with `relight track set NAME`")
    else:
        print_table(
            ("track", "release override", "routes"), (answer.values() for answer in answers)
        )
