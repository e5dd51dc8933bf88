"""`relight image verify`: a machine or a disk, compared with the contract of base images."""

import re
from pathlib import Path
from typing import Annotated

import typer

from relight.domain.image.contract import ContractChecked
from relight.domain.text import visible_head
from relight.images.check import MAX_CHECK_BYTES, CheckUnreadableError, check_script, parse_check
from relight.images.contract_file import ContractFile
from relight.images.disk import DiskError, check_disk
from relight.images.programs import require_programs
from relight.images.requirements import Subject
from relight.settings import load_settings
from starter.cli.bounded_answer import NoAnswerError, bounded_answer
from starter.cli.errors import BadInputError, ExitCode, RefusedError
from starter.cli.image_contract import ContractOption, contract_of
from starter.cli.output import JsonOption, note, print_json, print_line
from starter.cli.route_login import machine_to_log_in

app = typer.Typer()

_ROUTE = re.compile(r"[a-z0-9-]+")
HOST_SECONDS = 120
"""How long a machine may take for its answer."""


class NotCheckedError(RefusedError):
    """The machine gave no answer: no line of the contract is known to be violated."""

    kind = "not-checked"


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
    line is violated, 1 if one is; 2 if it is no route and no image, 3 if nothing was checked.

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


def _on_disk(path: Path, file: ContractFile) -> ContractChecked:
    if not path.exists():
        raise BadInputError(f"there is no file {path}; a route has no slash and no dot in its name")
    try:
        return check_disk(path, file)
    except DiskError as error:
        raise BadInputError(str(error)) from error


def _on_route(route: str, file: ContractFile) -> ContractChecked:
    from relight.host_login import ssh_command  # noqa: PLC0415 - slow to import

    require_programs(["ssh"])
    machine = machine_to_log_in(route)
    script = check_script(file, Subject.MACHINE).encode()
    try:
        with ssh_command(load_settings(), machine, terminal=False) as argv:
            answer = bounded_answer([*argv, "sh -s"], script, MAX_CHECK_BYTES, HOST_SECONDS)
        return parse_check(file, Subject.MACHINE, answer)
    except (CheckUnreadableError, NoAnswerError) as error:
        raise NotCheckedError(
            f"{machine.key} ({machine.address}) was not checked, so nothing is known about it: "
            f"{visible_head(str(error), 800)}. `relight route verify {route}` logs in as a worker "
            "does, and records the result"
        ) from error


def _summary(subject: str, file: ContractFile, checked: ContractChecked) -> str:
    asked = f"{checked.checked} requirements of {file.name}"
    unseen = f"; {len(checked.unseen)} can be seen by root only" if checked.unseen else ""
    if checked.violations:
        return f"{subject}: {len(checked.violations)} of the {asked} do not hold{unseen}"
    return f"{subject}: no violation of the {asked}{unseen}"
