"""`relight release`: the releases in the repository, which can be rolled out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from relight.release_source import release_source_config
from relight.releases.source import ReleaseSource, open_source
from relight.settings import load_settings
from starter.cli.names import TagArgument
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)

app = typer.Typer(no_args_is_help=True)

Answer = TypeVar("Answer")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the releases in the repository, the newest last.

    [bold]Example:[/]

      relight release list
    """
    releases = _read(lambda repository: repository.list_releases())
    if json:
        print_json(releases)
        return
    if not releases:
        print_line("the repository has no release of the package yet")
        return
    print_table(
        ("tag", "version", "architectures"),
        ((release.tag, release.version, ", ".join(release.architectures)) for release in releases),
        title=releases[0].source,
    )


@app.command()
def show(tag: TagArgument, json: JsonOption = False) -> None:
    """Show a release: its exact version, and its files with their digests.

    [bold]Example:[/]

      relight release show v0.0.74 --json
    """
    release = _read(lambda repository: repository.resolve(tag, ()))
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


def _read(query: Callable[[ReleaseSource], Awaitable[Answer]]) -> Answer:
    """Open the release source that the settings name, and return what the query reads from it."""
    settings = load_settings()
    config = release_source_config(settings)

    async def read() -> Answer:
        source = open_source(config, settings.service.package)
        try:
            return await query(source)
        finally:
            await source.close()

    return asyncio.run(read())
