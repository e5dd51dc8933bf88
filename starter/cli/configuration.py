"""`relight configuration`: the service's configuration files, and what each route gets."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel

from relight.domain.configuration import Configuration
from relight.domain.fault.error import DomainError
from relight.domain.names import Revision, RouteId, revision_of
from relight.domain.route import Route
from starter.cli.configuration_text import Difference, differences
from starter.cli.errors import BadInputError
from starter.cli.names import revision_argument, route_or_none
from starter.cli.output import JsonOption, print_done, print_json, print_line, print_table
from starter.cli.rollout_text import counted
from starter.cli.session import DEFAULT_REASON, ReasonOption, fleet_store, operation
from starter.cli.times import moment

if TYPE_CHECKING:  # slow to import
    from relight.store.configurations import ConfigurationRecord
    from relight.store.store import Store

app = typer.Typer(no_args_is_help=True)

FolderArgument = Annotated[
    Path, typer.Argument(help="The folder with configuration.toml and the templates.")
]
RevisionArgument = Annotated[str, typer.Argument(callback=revision_argument)]
RouteOption = Annotated[
    str | None,
    typer.Option("--route", callback=route_or_none, help="Only as this route gets it."),
]


class _Checked(BaseModel):
    revision: Revision
    files: tuple[str, ...]
    routes: int


class _Listed(BaseModel):
    revision: Revision
    created_at: str
    requested_by: str
    reason: str
    files: int
    routes: int


@app.command()
def check(folder: FolderArgument, json: JsonOption = False) -> None:
    """Check a folder: it is read, and rendered for every route of the fleet. Nothing is changed.

    Secrets are rendered as their names. The service's own check runs on the hosts, before a file
    is replaced there.

    [bold]Example:[/]

      relight configuration check ./configuration
    """
    configuration = _read(folder)
    with fleet_store(reads_only=True) as store:
        routes = store.routes.list()
    for route in routes:
        _rendered(configuration, route)
    checked = _Checked(
        revision=configuration.revision,
        files=tuple(each.path for each in configuration.files),
        routes=len(routes),
    )
    print_done(
        f"configuration {checked.revision}: {counted(len(checked.files), 'file')}, rendered for "
        f"{counted(checked.routes, 'route')}",
        checked,
        as_json=json,
    )


@app.command()
def diff(
    folder: FolderArgument,
    route: RouteOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a folder would change on the hosts, in the files as they are rendered.

    It is compared with the configuration that each route is at. Routes with the same change are
    shown once. Of secrets only the names are compared.

    [bold]Examples:[/]

      relight configuration diff ./configuration
      relight configuration diff ./configuration --route eu-1 --json
    """
    configuration = _read(folder)
    with fleet_store(reads_only=True) as store:
        found = differences(
            (each.route_id, _current_files(store, each), _rendered(configuration, each))
            for each in _routes(store, route)
        )
    if json:
        print_json(found)
        return
    if not found:
        print_line("no file of any route changes")
    for each in found:
        _print_difference(each)


@app.command()
def apply(
    folder: FolderArgument,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Record a folder as a configuration of the fleet. No host is changed yet.

    A rollout brings it to the routes, in waves, as it does with a package. A configuration is never
    changed: another content is another revision.

    [bold]Examples:[/]

      relight configuration apply ./configuration --reason "more connections"
      relight rollout start v0.0.74 --configuration 3f2a91bc04de --wait
    """
    configuration = _read(folder)
    revision = configuration.revision
    with fleet_store() as store:
        for route in store.routes.list():
            _rendered(configuration, route)
        is_new = store.configurations.add(configuration, operation(reason))
    print_done(
        f"configuration {revision} is {'recorded' if is_new else 'on record already'}; a rollout "
        f"with `--configuration {revision}` brings it to the routes",
        {"revision": revision, "is_new": is_new},
        as_json=json,
    )


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the configurations on record, the newest last, and how many routes are at each.

    [bold]Example:[/]

      relight configuration list
    """
    with fleet_store(reads_only=True) as store:
        records = store.configurations.list()
        at = Counter(revision_of(each.current_release_tag or "") for each in store.routes.list())
    listed = [
        _Listed(
            revision=each.revision,
            created_at=each.created_at.isoformat(),
            requested_by=each.requested_by,
            reason=each.reason,
            files=len(each.configuration.files),
            routes=at[each.revision],
        )
        for each in records
    ]
    if json:
        print_json(listed)
        return
    if not listed:
        print_line("there is no configuration yet: `relight configuration apply --help`")
        return
    print_table(
        ("revision", "recorded", "by", "reason", "files", "routes"),
        (
            (
                each.revision,
                moment(record.created_at),
                each.requested_by,
                each.reason,
                each.files,
                each.routes,
            )
            for each, record in zip(listed, records, strict=True)
        ),
    )


@app.command()
def show(revision: RevisionArgument, route: RouteOption = None, json: JsonOption = False) -> None:
    """Show a configuration: its templates and values; or its files as a route gets them.

    [bold]Examples:[/]

      relight configuration show 3f2a91bc04de
      relight configuration show 3f2a91bc04de --route eu-1 --json
    """
    with fleet_store(reads_only=True) as store:
        record = _record(store, revision)
        rendered = (
            None if route is None else _rendered(record.configuration, *_routes(store, route))
        )
    if rendered is not None:
        if json:
            print_json(rendered)
        else:
            _print_files(rendered)
    elif json:
        print_json(record)
    else:
        _print_configuration(record.configuration)


def _read(folder: Path) -> Configuration:
    from relight.configuration_folder import (  # noqa: PLC0415 - slow to import
        ConfigurationFolderError,
        read_folder,
    )

    try:
        return read_folder(folder)
    except ConfigurationFolderError as error:
        raise BadInputError(str(error)) from None


def _rendered(configuration: Configuration, route: Route) -> Mapping[str, str]:
    from relight.configuration_folder import preview  # noqa: PLC0415 - slow to import

    try:
        return preview(configuration, route)
    except DomainError as error:
        raise BadInputError(f"route {route.route_id}: {error}") from None


def _current_files(store: "Store", route: Route) -> Mapping[str, str]:
    revision = revision_of(route.current_release_tag or "")
    record = store.configurations.get(revision) if revision else None
    return _rendered(record.configuration, route) if record else {}


def _routes(store: "Store", route_id: RouteId | None) -> list[Route]:
    if route_id is None:
        return store.routes.list()
    route = store.routes.get(route_id)
    if route is None:
        msg = f"there is no route {route_id}"
        raise BadInputError(msg)
    return [route]


def _record(store: "Store", revision: Revision) -> "ConfigurationRecord":
    record = store.configurations.get(revision)
    if record is None:
        msg = f"there is no configuration {revision}; `relight configuration list` shows them"
        raise BadInputError(msg)
    return record


def _print_difference(difference: Difference) -> None:
    print_line(f"{counted(len(difference.routes), 'route')}: {', '.join(difference.routes)}")
    for each in difference.files:
        for line in each.diff:
            print_line(line)
    print_line("")


def _print_files(files: Mapping[str, str]) -> None:
    for path, text in files.items():
        print_line(f"# {path}")
        for line in text.splitlines():
            print_line(line)
        print_line("")


def _print_configuration(configuration: Configuration) -> None:
    print_line(f"check: {' '.join(configuration.check) or 'none'}")
    print_line(f"on change: {configuration.on_change}")
    groups = {
        "the fleet": configuration.values,
        **{f"track {name}": values for name, values in sorted(configuration.tracks.items())},
        **{f"route {name}": values for name, values in sorted(configuration.routes.items())},
    }
    for name, values in groups.items():
        for key, value in sorted(values.items()):
            print_line(f"value of {name}: {key} = {value!r}")
    print_line("")
    _print_files(
        {
            f"{each.path} {each.mode} {each.owner}:{each.group}": each.template
            for each in configuration.files
        }
    )
