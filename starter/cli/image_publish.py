"""`relight image publish`: bring an image to regions, and say which have it and which do not."""

from typing import Annotated

import typer

from starter.cli.errors import BadInputError
from starter.cli.names import image_name_of
from starter.cli.output import JsonOption
from starter.cli.session import DEFAULT_REASON, ReasonOption
from starter.cli.waiting import TimeoutOption, WaitOption, patience_of

app = typer.Typer()


@app.command()
def publish(  # noqa: PLR0913 - its options
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            parser=image_name_of,
            help="The image: a worker has NAME.qcow2 and NAME.json in its folder of images.",
        ),
    ],
    *,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this provider. Default: all that take images."),
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this region of --provider.")
    ] = None,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing", help="Only regions that are not on record to have it.", show_default=False
        ),
    ] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Bring an image to every region whose machines have its architecture, and prove it there.

    At each provider as many imports are under way as it works on; what fails is tried once more. A
    region has the image once its provider lists it as available, of this build and private; one
    that others could use is deleted. The table at the end has the reason of each region without it,
    and the exit code is then 1. --missing takes up the rest. Without a declared release, or if the
    declared one cannot run on the image, nothing is published.

    [bold]Examples:[/]

      relight image publish relight-base-0.0.74-amd64
      relight image publish relight-base-0.0.74-amd64 --missing
      relight image publish relight-base-0.0.74-amd64 --provider linode --region eu-central
      relight image publish relight-base-0.0.74-amd64 --no-wait --json
    """
    from starter.cli.image_publication import run  # noqa: PLC0415 - imports Temporal's SDK

    if region is not None and provider is None:
        raise BadInputError("--region is a region of a provider: name it with --provider")
    patience = patience_of(timeout, waits=wait)
    run(
        {"name": name, "provider": provider, "region": region, "missing": missing},
        patience=patience,
        reason=reason,
        as_json=json,
    )


@app.command()
def cancel(
    name: Annotated[
        str, typer.Argument(metavar="NAME", parser=image_name_of, help="The image's name.")
    ],
    *,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """End the publication of an image that runs.

    Imports that are under way are withdrawn, and the staged disk is deleted. Regions that have the
    image keep it; `relight image publish --missing` takes up the rest. Exit code 3 if none runs.

    [bold]Example:[/]

      relight image cancel relight-base-0.0.74-amd64 --reason "a wrong build"
    """
    from starter.cli.image_publication import cancel as cancel_publication  # noqa: PLC0415 - as above

    patience = patience_of(timeout, waits=wait)
    cancel_publication(name, patience=patience, reason=reason, as_json=json)
