"""`python -m devkit.services`: tries real services of Debian on lab machines."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from devkit.installation import isolated_home
from devkit.services import page
from devkit.services.catalog import CATALOG
from devkit.services.declared import declare
from devkit.services.trial import Report, Trials
from lab import debian
from starter.local.lab import lab_state, local_lab

AT_ONCE = 2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def services(
    only: Annotated[
        list[str] | None, typer.Option(help="Try this package only; can be repeated.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write all reports to this file.")] = None,
) -> None:
    """Provision each service of the catalog, swap it and roll it back; each is proven.

    Without --only, docs/services-tried.md is written. Exit code 1: one is not proven that has to
    be.
    """
    names = only or [entry.package for entry in CATALOG]
    if unknown := set(names) - {entry.package for entry in CATALOG}:
        raise typer.BadParameter(f"not in the catalog: {', '.join(sorted(unknown))}")
    reports = asyncio.run(_try_all(names))
    if json is not None:
        json.write_text(page.as_json(reports))
    if only is None:
        page.PAGE.write_text(page.text({report.name: report for report in reports}))
    proven, wrong = sum(report.is_proven for report in reports), page.unexpected(reports)
    _say(f"{proven} of {len(reports)} are proven; {len(wrong)} are not and have to be")
    raise typer.Exit(1 if wrong else 0)


async def _try_all(names: list[str]) -> list[Report]:
    limit, started = asyncio.Semaphore(AT_ONCE), time.monotonic()
    with isolated_home("rlt-") as home:
        async with local_lab(home) as lab:
            await debian.refresh()
            trials = Trials(lab_state(home), lab.addresses, home / "trials", declare)

            async def one(name: str) -> Report:
                def say(what: str) -> None:
                    _say(f"{time.monotonic() - started:5.0f} s  {name}: {what}")

                async with limit:
                    report = await trials.run(name, say)
                say("proven" if report.is_proven else f"{report.failed_step}: {report.reason}")
                return report

            return list(await asyncio.gather(*map(one, names)))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    app()
