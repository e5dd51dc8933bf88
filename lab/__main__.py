"""`python -m lab`: serve a lab, build its image, or remove what a lab left behind."""

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

Name = Annotated[str, typer.Option(help="The lab's name: labs of different names run at once.")]
State = Annotated[Path, typer.Option(help="The folder for its state.", file_okay=False)]


@app.command()
def serve(name: Name, state: State) -> None:
    """Run a lab in the foreground until SIGINT or SIGTERM."""
    from lab import serve as lab_serve  # noqa: PLC0415 - heavy, and `down` has no use for it

    asyncio.run(lab_serve.serve(name, state.absolute()))


@app.command()
def image() -> None:
    """Build the base image and the packages, if they are not in the cache."""
    from lab import serve as lab_serve  # noqa: PLC0415 - as above

    asyncio.run(lab_serve.build_image())


@app.command()
def down(name: Name, state: State) -> None:
    """End a lab if it runs, and remove all that is left of it."""
    for what in lifecycle.sweep(name, state.absolute()):
        print(f"lab: removed {what}", file=sys.stderr)  # noqa: T201


def main() -> None:
    """Run the command line; what the lab cannot do is said in one line."""
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
