"""`relight service`."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from dotenv import dotenv_values

from relight.service_file import service_file
from relight.settings import Settings, load_settings
from starter.cli.errors import ExitCode, RefusedError
from starter.cli.output import JsonOption, note, print_json, print_table

if TYPE_CHECKING:  # slow to import
    from starter.local.service_trial import ServiceTrial, TrialReport, Tried

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
            help="The package; by default that of the service file. If the service file is of "
            "another one, that which `relight init` would write is used.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run the service on one machine of a lab of its own: provision, swap, roll back; prove each.

    The package is taken from the source of releases that is set, else from Debian, as what it
    depends on; of a file, the .debs beside it are used too. The next version is the same package,
    built again under a higher version. A lab, a Temporal server and a worker are started for it in
    a temporary folder, and removed in the end, also after Ctrl-C. It needs root on Linux, as the
    lab does. Exit code 0 only if each step was proven; 130 after Ctrl-C.

    [bold]Examples:[/]

      relight service try
      relight service try --package memcached
      relight service try --package ./box_1.0_amd64.deb --json
    """
    # Slow to import, and of this command only.
    from starter.local.service_trial import ServiceTrial  # noqa: PLC0415

    with TemporaryDirectory(prefix="relight-service-") as folder:
        trial = ServiceTrial(_tried(package, Path(folder)), note)
        was_interrupted = asyncio.run(_run(trial))
    _print(trial.report, as_json=json)
    if was_interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not trial.report.is_proven:
        raise typer.Exit(ExitCode.FAILED)


async def _run(trial: "ServiceTrial") -> bool:
    """Run a trial until its end or a signal, and return whether there was one."""
    from starter.local.signals import cancelled_by_signals  # noqa: PLC0415

    with cancelled_by_signals() as signalled:
        try:
            await trial.run()
        except asyncio.CancelledError:
            if not signalled():
                raise
        return signalled()


def _print(report: "TrialReport", *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    rows = (
        (
            step.name,
            step.release or None,
            "proven" if step.is_proven else "not proven",
            f"{step.seconds:.0f}",
            step.text,
        )
        for step in report.steps
    )
    styles = {"proven": "green", "not proven": "red"}
    print_table(("step", "release", "is", "s", "found"), rows, styles=styles)


def _tried(package: str | None, folder: Path) -> "Tried":
    """Return what is tried.

    Args:
        package: that was named; None for that of the service file.
        folder: an empty one, for a .deb from the source of releases.

    Raises:
        BadInputError: there is no such file, it is no .deb, or it has no service.
        RefusedError: there is no service file, and no package was named.
    """
    from starter.cli.service_file import is_file, package_name, read_service  # noqa: PLC0415
    from starter.local.service_trial import Tried  # noqa: PLC0415

    settings = load_settings(to_make=True)
    file = service_file(settings.home, settings.service_file).absolute()
    deb: Path | None = None
    if package is None:
        if not file.exists():
            raise RefusedError(
                f"there is no service file {file}, so nothing says what to try: name a package"
                " with --package, or type `relight init --help`"
            )
        name = settings.service.package
    elif is_file(package):
        deb = Path(package).absolute()
        name = read_service(package, settings).service.package
    else:
        name = package_name(package)
    is_own = file.exists() and settings.service.package == name
    return Tried(
        package=deb or _found(name, settings, folder),
        service_file=file if is_own else None,
        more=settings.service.packages if is_own else (),
        settings=_service_variables(settings) if is_own else {},
    )


def _found(name: str, settings: Settings, folder: Path) -> str | Path:
    """Return the .deb of a package from the source of releases; its name if that has none."""
    from relight.inspection.packages import in_source  # noqa: PLC0415
    from relight.release_source import release_source_config  # noqa: PLC0415
    from relight.releases.errors import RepositoryError  # noqa: PLC0415
    from starter.cli.service_file import has_source  # noqa: PLC0415

    if not has_source(settings):
        return name
    config = release_source_config(settings)
    try:
        file = in_source(config, folder)(name)
    except RepositoryError as error:
        note(f"{config.address} cannot be used ({error}): taking {name} from Debian")
        return name
    if file is None:
        note(f"{config.address} has no package {name}: taking it from Debian")
    return file or name


def _service_variables(settings: Settings) -> dict[str, str]:
    """Return the variables of the service, which count before its file."""
    set_here = {**dotenv_values(settings.home / "env"), **os.environ}
    return {
        name: value
        for name, value in set_here.items()
        if name.startswith("RELIGHT_SERVICE__") and value
    }
