"""The contract of base images that a command uses."""

from pathlib import Path
from typing import Annotated

import typer

from relight.images.contract_file import (
    DEFAULT_CONTRACT,
    ContractError,
    ContractFile,
    read_contract,
)
from relight.settings import load_settings
from starter.cli.errors import BadInputError

ContractOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The contract. Default: RELIGHT_IMAGES__CONTRACT, else that of lantern-box.",
    ),
]


def contract_of(named: Path | None) -> ContractFile:
    """Return the contract that an option names, else that of the settings, else the default.

    Raises:
        BadInputError: the file is no contract.
    """
    path = named or load_settings().images.contract or DEFAULT_CONTRACT
    try:
        return read_contract(path)
    except ContractError as error:
        raise BadInputError(str(error)) from error
