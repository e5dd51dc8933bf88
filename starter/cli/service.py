"""`relight service`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from relight.inspection.service_toml import service_toml
from relight.service_file import NAME, service_file
from relight.settings import load_settings
from starter.cli.errors import ExitCode, RefusedError
from starter.cli.output import JsonOption, note, print_json, print_table

app = typer.Typer()


@app.callback()
def service() -> None:
    """Try the service of the service file, before a fleet runs it."""


@app.command("try")
def try_(
    package: Annotated[
        str | None,
        typer.Option(
            metavar="PACKAGE|FILE.deb",
            help="The package; by default that of the service file, from Debian. Without a service "
            "file the one that `relight init` would write is used.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run the service on one machine of a lab of its own: provision, swap, roll back; prove each.

    The package and what it depends on are fetched from the Debian sources of the lab's base image;
    of a file, the .debs beside it are used too. The next version is the same package, built again
    under a higher version. A lab, a Temporal server and a worker are started for it in a temporary
    folder, and removed in the end, whatever happened. It needs root on Linux, as the lab does.
    Exit code 0 only if each step was proven.

    [bold]Examples:[/]

      relight service try
      relight service try --package memcached
      relight service try --package ./box_1.0_amd64.deb --json
    """
    # Slow to import, and of this command only.
    from starter.local.service_trial import ServiceTrial, TrialStep  # noqa: PLC0415

    def report(step: TrialStep) -> None:
        is_ = "proven" if step.is_proven else "NOT PROVEN"
        note(f"{step.name} {step.release}".rstrip() + f": {is_} after {step.seconds:.0f} s")

    with TemporaryDirectory(prefix="relight-service-") as folder:
        tried, file = _tried(package, Path(folder))
        result = ServiceTrial(tried, file, report).run()
    if json:
        print_json(result)
    else:
        print_table(
            ("step", "release", "is", "s", "found"),
            (
                (
                    each.name,
                    each.release or None,
                    "proven" if each.is_proven else "not proven",
                    f"{each.seconds:.0f}",
                    each.text,
                )
                for each in result.steps
            ),
            styles={"proven": "green", "not proven": "red"},
        )
    if not result.is_proven:
        raise typer.Exit(ExitCode.FAILED)


def _tried(package: str | None, folder: Path) -> tuple[str | Path, Path]:
    """Return the package, or its .deb, and its service file.

    Args:
        package: that was named; None for that of the service file.
        folder: for a service file, if there is none of this package.

    Raises:
        RefusedError: there is no service file, and no package was named.
    """
    from starter.cli.service_file import is_file, read_service  # noqa: PLC0415 - slow to import

    settings = load_settings()
    file = service_file(settings.home, settings.service_file).absolute()
    if package is None:
        if not file.exists():
            raise RefusedError(
                f"there is no service file {file}, so nothing says what to try: name a package"
                " with --package, or type `relight init --help`"
            )
        return settings.service.package, file
    read = read_service(package, settings)
    if not file.exists() or settings.service.package != read.service.package:
        file = folder / NAME
        file.write_text(service_toml(read.service))
    return Path(package).absolute() if is_file(package) else package, file
