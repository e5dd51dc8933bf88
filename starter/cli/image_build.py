"""`relight image build`: a base image, made on this computer without any cloud."""

from pathlib import Path
from typing import Annotated

import typer

from relight.domain.image.label import why_no_label
from relight.images.build import ImageOrder, architecture_here, build_image
from relight.images.programs import ImageBuildError
from relight.settings import load_settings
from starter.cli.errors import BadInputError, OperationFailedError
from starter.cli.image_contract import ContractOption, contract_of
from starter.cli.output import JsonOption, OutputsOption, print_json, print_line

app = typer.Typer()


@app.command()
def build(  # noqa: PLR0913, PLR0917 - its options
    contract: ContractOption = None,
    architecture: Annotated[
        str | None, typer.Option(help="amd64 or arm64. Default: that of this computer.")
    ] = None,
    distribution: Annotated[str, typer.Option(help="debian-12 or ubuntu-24.04.")] = "debian-12",
    label: Annotated[
        str | None,
        typer.Option(help="Of the image's name, as in 0.0.74. Default: of its inputs' digest."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The folder of images. Default: the settings'."),
    ] = None,
    keep_root: Annotated[
        bool, typer.Option("--keep-root", help="Leave its root folder beside the disk.")
    ] = False,
    outputs: OutputsOption = False,
    json: JsonOption = False,
) -> None:
    """Build a base image: a disk and its manifest. With the same inputs nothing is built.

    The packages come from this computer's apt sources. It needs root, and programs of Debian's
    packages: what is missing is named before anything is built. Exit code 0 if the image is there,
    built now or before; 1 if the build failed; 3 if something that it needs is missing here.

    An image that is there keeps its name, whatever the label: the answer has the name to publish.

    [bold]Examples:[/]

      relight image build --label 0.0.74
      relight image build --contract contract.yaml --architecture arm64 --out images
      relight image build --label 0.0.74 --outputs >> "$GITHUB_OUTPUT"
    """
    if label is not None and (why := why_no_label(label)):
        raise BadInputError(why)
    order = ImageOrder(
        contract=contract_of(contract),
        distribution=distribution,
        architecture=architecture or architecture_here(),
        out=out or load_settings().image_folder,
        label=label,
        keep_root=keep_root,
    )
    try:
        built = build_image(order)
    except ImageBuildError as error:
        raise OperationFailedError(str(error)) from error
    if json:
        print_json({"built": built.is_new, **built.manifest.model_dump(mode="json")})
        return
    if outputs:
        print_line(f"{built.manifest.architecture}={built.manifest.name}")
        return
    state = "built" if built.is_new else "unchanged, so nothing was built"
    print_line(f"{built.manifest.name}: {state}; contents {built.manifest.contents_sha256}")
