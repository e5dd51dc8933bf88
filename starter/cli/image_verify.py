"""`relight image verify`: a machine or a disk, compared with the contract of base images."""

import re
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from relight.domain.image.contract import ContractChecked
from relight.domain.text import visible_head
from relight.images.check import MAX_CHECK_BYTES, CheckUnreadableError, check_script, parse_check
from relight.images.contract_file import (
    DEFAULT_CONTRACT,
    ContractError,
    ContractFile,
    read_contract,
)
from relight.images.disk import DiskError, check_disk
from relight.images.requirements import Subject
from relight.settings import load_settings
from starter.cli.errors import BadInputError, ExitCode, OperationFailedError
from starter.cli.output import JsonOption, note, print_json, print_line
from starter.cli.route_login import login_failed, machine_to_log_in

app = typer.Typer()

ContractOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The contract. Default: RELIGHT_IMAGES__CONTRACT, else that of lantern-box.",
    ),
]

_ROUTE = re.compile(r"[a-z0-9-]+")
_HOST_SECONDS = 120


@app.command()
def verify(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="ROUTE|FILE",
            help="A route, whose machine is logged in on; or a disk (qcow2, raw) or the folder "
            "of a root, which has a slash or a dot in its name.",
        ),
    ],
    contract: ContractOption = None,
    json: JsonOption = False,
) -> None:
    """Compare a route's machine, or an image's disk, with the contract of base images.

    Nothing is changed, and no program of the disk is run. Each line of the contract that does not
    hold is named. On a machine the control plane's user checks, who may not see everything: what
    only root can see is named apart. A disk needs root, as it is mounted. Exit code 0 if no
    line is violated, 1 if one is.

    [bold]Examples:[/]

      relight image verify eu-1
      relight image verify ./relight-base-0.0.74-amd64.qcow2 --json
    """
    file = contract_of(contract)
    is_route = _ROUTE.fullmatch(subject) is not None
    checked = _on_route(subject, file) if is_route else _on_disk(Path(subject), file)
    if json:
        about = {"subject": subject, "contract": file.name, "contract_sha256": file.sha256}
        print_json({**about, **checked.model_dump(mode="json")})
    else:
        for each in checked.violations:
            print_line(str(each))
        for each in checked.unseen:
            note(f"not checked: {each}")
        print_line(_summary(subject, file, checked))
    if checked.violations:
        raise typer.Exit(ExitCode.FAILED)


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


def _on_disk(path: Path, file: ContractFile) -> ContractChecked:
    if not path.exists():
        raise BadInputError(f"there is no file {path}; a route has no slash and no dot in its name")
    try:
        return check_disk(path, file)
    except DiskError as error:
        raise BadInputError(str(error)) from error


def _on_route(route: str, file: ContractFile) -> ContractChecked:
    from relight.host_login import ssh_command  # noqa: PLC0415 - slow to import

    machine = machine_to_log_in(route)
    script = check_script(file, Subject.MACHINE).encode()
    with (
        tempfile.TemporaryFile() as stdin,
        ssh_command(load_settings(), machine, terminal=False) as argv,
    ):
        stdin.write(script)
        stdin.seek(0)
        with subprocess.Popen(  # noqa: S603 - ssh, with the words of `ssh_command`
            [*argv, "sh -s"], stdin=stdin, stdout=subprocess.PIPE
        ) as process:
            # A host may print without an end, or nothing at all.
            timer = threading.Timer(_HOST_SECONDS, process.kill)
            timer.start()
            try:
                assert process.stdout is not None
                answer = process.stdout.read(MAX_CHECK_BYTES)
                process.stdout.close()
                code = process.wait()
            except KeyboardInterrupt:
                raise typer.Exit(ExitCode.INTERRUPTED) from None
            finally:
                timer.cancel()
                process.kill()
    if code != 0:
        raise login_failed(route, machine, code)
    try:
        return parse_check(file, Subject.MACHINE, answer.decode(errors="replace"))
    except CheckUnreadableError as error:
        msg = f"{machine.key} gave no answer that can be read: {visible_head(str(error), 400)}"
        raise OperationFailedError(msg) from error


def _summary(subject: str, file: ContractFile, checked: ContractChecked) -> str:
    asked = f"{checked.checked} requirements of {file.name}"
    unseen = f"; {len(checked.unseen)} can be seen by root only" if checked.unseen else ""
    if checked.violations:
        return f"{subject}: {len(checked.violations)} of the {asked} do not hold{unseen}"
    return f"{subject}: no violation of the {asked}{unseen}"
