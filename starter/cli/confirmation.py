"""The question before something is destroyed.

It is asked on a terminal only: a script cannot answer it, and gives its reason with `--reason`
(docs/decisions/0025-a-question-before-what-destroys.md).
"""

import sys
from typing import Annotated

import typer

from starter.cli.errors import RefusedError
from starter.cli.output import text_of

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it is destroyed.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal whether to go on.

    Args:
        question: what is destroyed, without a question mark.
        yes: do not ask.

    Raises:
        RefusedError: the answer is not yes.
    """
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if not typer.confirm(text_of(f"{question}. Go on?").plain, err=True):
        msg = "it was not confirmed, so nothing was changed"
        raise RefusedError(msg)
