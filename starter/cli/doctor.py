"""`relight doctor`."""

import asyncio

import typer

from relight.doctor.check import CheckStatus
from relight.doctor.examination import examine
from relight.doctor.setting_origins import DEFAULT, setting_origins
from relight.settings import load_settings
from starter.cli.errors import ExitCode
from starter.cli.output import JsonOption, print_json, print_line, print_table

app = typer.Typer(add_completion=False)

_STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Check all that a worker needs, and say what to do about each that is not well.

    It changes nothing. A worker makes the same checks at its start, of what it cannot serve
    without. The origin of each setting is shown: the environment, the file `env` of the home
    folder, the service file, or the default. Exit code 0 if nothing has failed, 1 if something has.

    [bold]Examples:[/]

      relight doctor
      relight doctor --json | jq '.checks[] | select(.status != "ok")'
    """
    settings = load_settings()
    results, origins = asyncio.run(examine(settings)), setting_origins(settings)
    if json:
        print_json({"checks": results, "settings": origins})
    else:
        print_table(
            ("check", "is", "found"),
            ((each.name, each.status, each.found) for each in results),
            styles=_STYLES,
        )
        for each in results:
            if each.to_do:
                print_line(f"to do, {each.name}: {each.to_do}")
        print_table(
            ("setting", "value", "origin"),
            ((each.name, each.value, each.origin) for each in origins if each.origin != DEFAULT),
            title="settings that are not the default (--json shows all)",
        )
    if any(each.status is CheckStatus.FAILED for each in results):
        raise typer.Exit(ExitCode.FAILED)
