"""`relight image build`: a base image, made on this computer without any cloud."""

import platform
from pathlib import Path
from typing import Annotated

import typer

from relight.domain.image.label import why_no_label
from relight.images.build import ImageOrder, build_image
from relight.images.contract_file import DEFAULT_CONTRACT, ContractError, read_contract
from relight.images.programs import ImageBuildError
from relight.settings import load_settings
from starter.cli.errors import BadInputError, OperationFailedError
from starter.cli.output import JsonOption, print_json, print_line

app = typer.Typer()

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@app.command()
def build(
    contract: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the image holds. Default: as in the settings."),
    ] = None,
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
    json: JsonOption = False,
) -> None:
    """Build a base image, a disk and its manifest. Nothing is built if its inputs are the same.

    The packages come from this computer's apt sources. It needs root.

    [bold]Examples:[/]

      relight image build --label 0.0.74
      relight image build --contract contract.yaml --architecture arm64 --out images
    """
    settings = load_settings()
    if label is not None and (why := why_no_label(label)):
        raise BadInputError(why)
    try:
        built = build_image(
            ImageOrder(
                contract=read_contract(contract or settings.images.contract or DEFAULT_CONTRACT),
                distribution=distribution,
                architecture=architecture or _ARCHITECTURES.get(platform.machine(), "amd64"),
                out=out or settings.image_folder,
                label=label,
                keep_root=keep_root,
            )
        )
    except ContractError as error:
        raise BadInputError(str(error)) from error
    except ImageBuildError as error:
        raise OperationFailedError(str(error)) from error
    if json:
        print_json({"built": built.is_new, **built.manifest.model_dump(mode="json")})
        return
    state = "built" if built.is_new else "unchanged, so nothing was built"
    print_line(f"{built.manifest.name}: {state}; contents {built.manifest.contents_sha256}")
