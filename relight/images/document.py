"""`python -m relight.images.document FILE`: writes the table of the default contract into a page.

The table stands between two comments; the rest of the page is written by people.
"""

import itertools
import sys
from pathlib import Path

from relight.images.contract_file import read_contract
from relight.images.requirements import Kind, Requirement, Subject, requirements

BEGIN, END = "<!-- The contract: made by `make docs` -->\n", "<!-- End of the contract -->\n"

_ASKED = {
    Kind.PACKAGE: "installed",
    Kind.NO_PACKAGE: "not installed",
    Kind.DIRECTORY: "a directory",
    Kind.FILE: "a file",
    Kind.MODE: "mode {expected}",
    Kind.OWNER: "owner {expected}",
    Kind.CONTENT: "content with SHA-256 {expected:.12}",
    Kind.USER: "a user",
    Kind.SHELL: "shell {expected}",
    Kind.GROUP: "in group {expected}",
    Kind.MASKED: "masked",
    Kind.NOT_ENABLED: "not enabled, or masked",
    Kind.SYSCTL: "set to {expected}",
    Kind.KERNEL: "in effect",
    Kind.TRUSTED: "in the system's store",
    Kind.NO_PATH: "absent",
    Kind.LOCKED: "no account has a password",
}


def page_with_table(page: str) -> str:
    """Return a page with the table of the default contract in its place.

    Raises:
        ValueError: it has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        msg = "the page has no comments between which the contract belongs"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{_table()}\n{END}{after}"


def _table() -> str:
    file = read_contract()
    asked = requirements(file, Subject.IMAGE)
    of_machines = set(requirements(file, Subject.MACHINE))
    lines = ["| section | what | is | checked on |", "| --- | --- | --- | --- |"]
    for (section, subject), group in itertools.groupby(
        asked, key=lambda each: (each.section, each.subject)
    ):
        parts = list(group)
        where = "images, machines" if set(parts) & of_machines else "images"
        lines.append(f"| {section} | `{subject}` | {', '.join(map(_words, parts))} | {where} |")
    return "\n".join((*lines, ""))


def _words(asked: Requirement) -> str:
    return _ASKED[asked.kind].format(expected=asked.expected)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(page_with_table(page.read_text("utf-8")), "utf-8")
