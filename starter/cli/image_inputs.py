"""`relight image changed`, `label`, `matrix`: what CI asks before it builds a base image."""

import asyncio
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relight.domain.image.label import DEFAULT_PREFIX, why_no_label
from relight.image_sources import (
    IMAGE_INPUTS,
    NO_COMMIT,
    ImageChanges,
    LabelFound,
    NoCheckoutError,
    UnknownRevisionError,
    changed_inputs,
    next_label,
)
from relight.setting_groups import SettingsError
from starter.cli.errors import BadInputError, OperationFailedError, RefusedError
from starter.cli.github_job import github_job, job_variable
from starter.cli.output import JsonOption, OutputsOption, note, print_json, print_line, print_table

if TYPE_CHECKING:  # slow to import: only the command that needs it does so
    from relight.image_matrix import ImageNeeded

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


@app.command()
def changed(
    since: Annotated[
        str | None,
        typer.Option(metavar="REV", help="A commit, a tag or a branch to compare with."),
    ] = None,
    since_success: Annotated[
        bool,
        typer.Option(
            "--since-success",
            help="Compare with the newest run of this workflow that succeeded on this branch, in a "
            "job of GitHub Actions with `permissions: actions: read` and GITHUB_TOKEN.",
        ),
    ] = False,
    inputs: InputsOption = None,
    outputs: OutputsOption = False,
    json: JsonOption = False,
) -> None:
    """Tell whether the base image has to be built: whether one of its inputs differs from REV.

    Files that are not committed count; a release changes no input. A commit that the checkout does
    not have, as after a rewritten history, counts as a change. Exit code 0 in both cases.

    With --since-success no change is lost by a run that failed or was replaced by a later one.

    [bold]Examples:[/]

      relight image changed --since v0.0.73
      relight image changed --since-success --outputs >> "$GITHUB_OUTPUT"
      relight image changed --since main --input image/contract.yaml --json
    """
    if (since is None) is not since_success:
        raise BadInputError("give --since REV or --since-success, and not both")
    try:
        rev = since if since is not None else _last_success()
        changes = changed_inputs(Path.cwd(), rev, inputs or IMAGE_INPUTS)
    except UnknownRevisionError as error:
        raise BadInputError(str(error)) from None
    except NoCheckoutError as error:
        raise RefusedError(str(error)) from None
    if not changes.is_known:
        note(f"there is no commit {changes.since} here, so the image counts as changed")
    if json:
        print_json(changes)
    elif outputs:
        print_line(f"changed={'true' if changes.changed else 'false'}")
    else:
        _print_changes(changes)


def _last_success() -> str:
    """Return the commit of the last run that succeeded; git's commit of zeros without one."""
    from relight.github_actions import (  # noqa: PLC0415 - httpx
        GitHubRefusedError,
        GitHubUnavailableError,
        last_success,
    )

    workflow, branch = job_variable("GITHUB_WORKFLOW_REF"), job_variable("GITHUB_REF_NAME")
    try:
        found = asyncio.run(last_success(github_job(), workflow, branch))
    except (GitHubRefusedError, GitHubUnavailableError) as error:
        raise OperationFailedError(str(error)) from error
    return found or NO_COMMIT


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
      relight image label 0.0.74 --outputs >> "$GITHUB_OUTPUT"
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


@app.command()
def matrix(
    label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Of the build; it gives the images' names.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Of the images' names.")] = DEFAULT_PREFIX,
    outputs: OutputsOption = False,
    json: JsonOption = False,
) -> None:
    """Show which images the fleet needs: one for each architecture, and who wants it.

    The regions are those of `providers.toml`, which RELIGHT_PROVIDERS_FILE names elsewhere: there
    is no second list. No provider is asked and no secret is read. With --outputs it is the matrix
    of a job, with `architecture`, `image`, `providers` and `regions`, their number.

    [bold]Examples:[/]

      relight image matrix
      relight image matrix --label 0.0.74 --outputs >> "$GITHUB_OUTPUT"
    """
    from relight.image_matrix import images_needed  # noqa: PLC0415 - drivers, httpx
    from relight.settings import load_settings  # noqa: PLC0415

    if label and (why := why_no_label(label)):
        raise BadInputError(why)
    try:
        needed = images_needed(load_settings(), label or None, prefix)
    except (SettingsError, ValueError) as error:
        raise BadInputError(str(error)) from None
    if json:
        print_json(needed)
    elif outputs:
        print_line(f"matrix={dumps(_matrix(needed))}")
    else:
        print_table(
            ("architecture", "image", "provider", "regions"),
            (
                (each.architecture, each.image, provider, ", ".join(regions))
                for each in needed
                for provider, regions in each.providers.items()
            ),
        )


def _matrix(needed: "Sequence[ImageNeeded]") -> dict[str, object]:
    """Return the matrix of a job: one combination for each image."""
    include = [
        {
            "architecture": each.architecture,
            "image": each.image or "",
            "providers": ",".join(each.providers),
            "regions": sum(map(len, each.providers.values())),
        }
        for each in needed
    ]
    return {"include": include}
