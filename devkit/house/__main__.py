"""`python -m devkit.house`: the measures of the code base, as a table or as JSON."""

import json
import sys
from statistics import median
from typing import Annotated

import typer

from devkit import words
from devkit.house import code
from devkit.house.hot_swap import files_of_hot_swap

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def house(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all names.")] = False,
    trace: Annotated[bool, typer.Option(help="Run a hot swap to count its files.")] = True,
) -> None:
    """Measure the house. The hot swap runs on a simulated host and takes about 15 seconds."""
    middle, longest, length = code.median_and_longest()
    activities = code.files_of_activities()
    ci = code.ROOT / "build" / "ci-seconds"
    measures: dict[str, object] = {
        ".ci/run, the last time here, seconds": int(ci.read_text()) if ci.exists() else None,
        "files from wave to host and back in a hot swap": files_of_hot_swap() if trace else None,
        "files touched to add an activity (median)": median(map(len, activities.values())),
        "names that the wheel puts into site-packages": code.wheel_names(),
        "retired words left": sum(
            1 for name, text in words.tracked_texts() for _ in words.findings(text, name)
        ),
        "median length of a Python file outside tests": middle,
        "longest of them but the fault table": f"{length} ({longest})",
    }
    if as_json:
        json.dump(measures, sys.stdout, indent=2)
        return
    for name, value in measures.items():
        shown = len(value) if isinstance(value, list) else value
        sys.stdout.write(f"{name:48} {'not measured' if shown is None else shown}\n")


if __name__ == "__main__":
    app()
