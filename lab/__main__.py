"""`python -m lab`: run a lab, build its base image, or remove the leftovers of a lab."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from lab import lifecycle
from lab.errors import LabError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)

Name = Annotated[
    str, typer.Option(help="The lab's name. Labs with different names can run at the same time.")
]
State = Annotated[Path, typer.Option(help="The folder for the lab's state.", file_okay=False)]


@app.command()
def serve(name: Name, state: State) -> None:
    """Run a lab in the foreground until SIGINT or SIGTERM."""
    from lab import serve as lab_serve  # noqa: PLC0415 - slow to import, and not needed for `down`

    asyncio.run(lab_serve.serve(name, state.absolute()))


@app.command()
def image() -> None:
    """Build the base image and the packages, unless they are in the cache."""
    from lab import serve as lab_serve  # noqa: PLC0415 - as above

    asyncio.run(lab_serve.build_image())


@app.command()
def down(name: Name, state: State) -> None:
    """Stop a lab if it runs, and remove all its leftovers."""
    for leftover in lifecycle.sweep(name, state.absolute()):
        print(f"lab: removed {leftover}", file=sys.stderr)  # noqa: T201


def main() -> None:
    """Run the command line; an error of the lab is printed as one line."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s lab: %(message)s", stream=sys.stderr
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        app()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
