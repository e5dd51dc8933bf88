"""The program that checks an image or a machine against its contract, and what its answer says.

It is one shell program, which needs no Python there. As root it sees everything; another account
is told which lines it could not see.
"""

from pathlib import Path

from relight.domain.image.contract import ContractChecked, ContractFinding
from relight.domain.text import visible_head
from relight.images.contract_file import ContractFile
from relight.images.requirements import Subject, requirements

MAX_CHECK_BYTES = 256 * 1024
"""What the program prints at most: a line of 300 bytes and its names for each requirement."""

_SCRIPT = Path(__file__).parent / "check.sh"
_TABLE = "<<'CONTRACT'\n"
_UNSEEN = "?"
_MAX_FOUND_BYTES = 300


class CheckUnreadableError(Exception):
    """The answer of a check is not one: nothing is known about the root."""


def check_script(file: ContractFile, subject: Subject) -> str:
    """Return the POSIX shell program that checks a root. It changes nothing.

    Its one argument is the folder with the files of an image; without it, it checks the system that
    it runs in. It prints lines `LINE<tab>WHAT<tab>FOUND`, which `parse_check` reads, and ends with
    0, whatever it found.

    Args:
        file: the contract.
        subject: what is checked: a machine has what its first boot made.
    """
    rows = "".join(f"{each.row}\n" for each in requirements(file, subject))
    program, rest = _SCRIPT.read_text("utf-8").split(_TABLE)
    return f"{program}{_TABLE}{rows}{rest}"


def parse_check(file: ContractFile, subject: Subject, answer: str) -> ContractChecked:
    """Return what the program found.

    Args:
        file: the contract.
        subject: what was checked.
        answer: what the program printed. A host may print anything.

    Raises:
        CheckUnreadableError: the program did not come to its end, or it is another one.
    """
    asked = requirements(file, subject)
    by_name = {(str(each.line), each.what): each for each in asked}
    *lines, end = answer.removesuffix("\n").split("\n")
    if end != f"end\t{len(asked)}":
        raise CheckUnreadableError(f"the check did not end: {visible_head(end, 300)}")
    found: dict[tuple[str, str], str] = {}
    for line in lines:
        number, _, rest = line.partition("\t")
        what, _, text = rest.partition("\t")
        if (number, what) not in by_name:
            raise CheckUnreadableError(f"the check answers {visible_head(line, 300)}")
        found[number, what] = visible_head(text, _MAX_FOUND_BYTES)
    violations: list[ContractFinding] = []
    unseen: list[ContractFinding] = []
    for name, each in by_name.items():
        if name in found and found[name] == _UNSEEN:
            unseen.append(each.unseen(file.name))
        elif name in found:
            violations.append(each.finding(file.name, found[name]))
    return ContractChecked(violations=tuple(violations), unseen=tuple(unseen), checked=len(asked))
