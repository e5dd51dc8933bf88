"""sudo: how a command runs as root, and what sudo says where it may not. Nothing here does I/O."""

import re

SUDO = ("sudo", "-n", "--")
"""Stands before a command that runs as root; it asks for no password."""

_MISSING = re.compile(r"^sudo: \S+: command not found$", re.MULTILINE)

# Each stands for a command that did not run. Of a host name that it cannot resolve sudo complains,
# too, and runs the command all the same.
_REFUSES = re.compile(
    # The user's shell speaks where there is no sudo, or none that he may run.
    r"^(?:\S*sh: (?:(?:line )?\d+: )?\S*sudo: (?:(?:command )?not found|Permission denied)"
    r"|sudo: (?:a password is required|a terminal is required|no valid sudoers sources"
    r"|account validation failure|effective uid is not 0|.* must be owned by uid 0)"
    r"|\S+ is not in the sudoers file|Sorry, user \S+ (?:is not allowed to|may not run) "
    r"|\S+ is not allowed to run sudo on).*$",
    re.MULTILINE,
)


def refusal(stderr: str) -> str | None:
    """Return the line by which sudo refused to run a command; None where it did not refuse."""
    found = _REFUSES.search(stderr)
    return found.group().strip() if found else None


def missing(stderr: str) -> str | None:
    """Return the line by which sudo says that there is no such command; None where it does not."""
    found = _MISSING.search(stderr)
    return found.group() if found else None
