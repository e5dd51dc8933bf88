"""`relight release`: the releases in the repository, which can be rolled out."""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import typer

from relight.domain.names import package_tag
from starter.cli.errors import BadInputError, ExitCode
from starter.cli.names import TagArgument
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.repository import read_repository
from starter.cli.session import DEFAULT_REASON, ReasonOption, fleet_store, operation
from starter.cli.times import moment

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.releases.listing import ReleaseList

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the releases in the repository, the newest last, and what it has that is none.

    Exit code 3 if something could not be read: then there may be more releases.

    [bold]Example:[/]

      relight release list
    """
    listed = read_repository(lambda repository: repository.list_releases())
    if json:
        print_json(listed)
    else:
        _print(listed)
    if listed.is_partial:
        raise typer.Exit(ExitCode.REFUSED)


def _print(listed: "ReleaseList") -> None:
    if listed.releases:
        print_table(
            ("tag", "version", "architectures"),
            (
                (release.tag, release.version, ", ".join(release.architectures))
                for release in listed.releases
            ),
            title=listed.releases[0].source,
        )
    elif not listed.is_partial:
        print_line("the repository has no release of the package yet")
    if listed.left_out:
        print_table(("left out", "reason"), ((each.name, each.reason) for each in listed.left_out))


@app.command()
def show(tag: TagArgument, json: JsonOption = False) -> None:
    """Show a release: its exact version, and its files with their digests.

    [bold]Example:[/]

      relight release show v0.0.74 --json
    """
    release = read_repository(lambda repository: repository.resolve(package_tag(tag), ()))
    if json:
        print_json(release)
        return
    print_table(
        ("architecture", "file", "bytes", "SHA-256"),
        (
            (deb_file.architecture, deb_file.filename, deb_file.size_bytes, deb_file.sha256)
            for deb_file in release.deb_files
        ),
        title=f"{release.tag}: {release.package} {release.version} from {release.source}",
    )


@app.command("accept-older")
def accept_older(reason: ReasonOption = DEFAULT_REASON, json: JsonOption = False) -> None:
    """Accept the repository's index as it is now, although a newer one was seen.

    An older index is refused: it may be an old state of the repository that somebody offers again,
    with its old faults. Accept one only if the repository was set back on purpose. Its signature
    and its dates are checked as always.

    [bold]Example:[/]

      relight release accept-older --reason "restored from the backup of Monday"
    """
    noted = _Noted()
    with fleet_store() as store:
        read_repository(lambda repository: repository.list_releases(), noted)
        if not noted.dates:
            raise BadInputError("the releases do not come from an apt repository: it has no index")
        accepted = [
            _Accepted(
                source, date, store.repository_indexes.accept(source, date, operation(reason))
            )
            for source, date in noted.dates.items()
        ]
    if json:
        listed = [each._asdict() for each in accepted]
        print_json(listed if len(listed) > 1 else listed[0])
        return
    for source, date, newer in accepted:
        if newer:
            print_line(f"{source}: the index of {moment(date)} is accepted")
        else:
            print_line(f"{source}: no newer index than that of {moment(date)} was seen")


class _Accepted(NamedTuple):
    """The index of a repository, and whether a newer one had been seen."""

    source: str
    date: datetime
    accepted: bool


class _Noted:
    """Has seen no index, and notes which ones are read, by their repositories."""

    def __init__(self) -> None:
        self.dates: dict[str, datetime] = {}

    def newest(self, _source: str) -> datetime | None:
        return None

    def record(self, source: str, date: datetime) -> None:
        self.dates[source] = date
