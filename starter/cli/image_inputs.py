"""`relight image changed`, `label`, `matrix`: what CI asks before it builds a base image."""

from pathlib import Path
from typing import Annotated

import typer

from relight.domain.image_label import why_no_label
from relight.image_sources import (
    IMAGE_INPUTS,
    ImageChanges,
    LabelFound,
    NoCheckoutError,
    UnknownRevisionError,
    changed_inputs,
    next_label,
)
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.output import JsonOption, note, print_json, print_line

app = typer.Typer()

InputsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="PATH",
        help="A file or folder that decides the image's content, as of the checkout's top folder. "
        "Repeat it. Default: Relight's own image.",
    ),
]
OutputsOption = Annotated[
    bool,
    typer.Option(
        "--outputs",
        help="Print NAME=VALUE lines, for a job's outputs in GitHub Actions.",
        show_default=False,
    ),
]


@app.command()
def changed(
    since: Annotated[
        str, typer.Option(metavar="REV", help="A commit, a tag or a branch to compare with.")
    ],
    inputs: InputsOption = None,
    outputs: OutputsOption = False,
    json: JsonOption = False,
) -> None:
    """Tell whether the base image has to be built: whether one of its inputs differs from REV.

    Files that are not committed count; a release changes no input. A commit that the checkout does
    not have, as after a rewritten history, counts as a change. Exit code 0 in both cases.

    [bold]Examples:[/]

      relight image changed --since v0.0.73
      relight image changed --since HEAD~1 --outputs >>"$GITHUB_OUTPUT"
      relight image changed --since main --input image/contract.yaml --json
    """
    try:
        changes = changed_inputs(Path.cwd(), since, inputs or IMAGE_INPUTS)
    except UnknownRevisionError as error:
        raise BadInputError(str(error)) from None
    except NoCheckoutError as error:
        raise RefusedError(str(error)) from None
    if not changes.is_known:
        note(f"there is no commit {since} here, so the image counts as changed")
    if json:
        print_json(changes)
    elif outputs:
        print_line(f"changed={'true' if changes.changed else 'false'}")
    else:
        _print_changes(changes)


def _print_changes(changes: ImageChanges) -> None:
    if not changes.changed:
        print_line(f"the image is as of {changes.since}: nothing is to be built")
        return
    print_line(f"the image has changed since {changes.since}")
    for name in changes.files:
        print_line(f"  {name}")


@app.command()
def label(
    label: Annotated[
        str | None, typer.Argument(metavar="[LABEL]", help="One to use instead, without a v.")
    ] = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = False,
    json: JsonOption = False,
) -> None:
    """Print the label of the next image: the newest tag without its v.

    After commits that changed an input of the image since that tag, their number follows, as in
    0.0.74-2: one name never names two contents. A LABEL is checked and printed as it is.

    [bold]Examples:[/]

      relight image label
      relight image label 0.0.74 --outputs >>"$GITHUB_OUTPUT"
    """
    if label:
        if why := why_no_label(label):
            raise BadInputError(why)
        found = LabelFound(label=label)
    else:
        try:
            found = next_label(Path.cwd(), inputs or IMAGE_INPUTS)
        except NoCheckoutError as error:
            raise RefusedError(str(error)) from None
    if json:
        print_json(found)
    else:
        print_line(f"label={found.label}" if outputs else found.label)
