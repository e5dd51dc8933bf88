"""The question before something is destroyed.

It is asked on a terminal only: a script cannot answer it, and gives its reason with `--reason`
(docs/decisions/0025-a-question-before-what-destroys.md).
"""

import sys
from typing import Annotated

import typer

from starter.cli.errors import RefusedError, UnansweredError
from starter.cli.output import text_of

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it is destroyed.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal whether to go on.

    Args:
        question: what is destroyed, without a question mark.
        yes: do not ask.

    Raises:
        RefusedError: the answer is not yes.
        UnansweredError: there is no answer.
    """
    if not yes and can_ask():
        ask(f"{question}. Go on?")


def can_ask() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> None:
    """Ask a person a question.

    Raises:
        RefusedError: the answer is not yes.
        UnansweredError: there is no answer.
    """
    try:
        agreed = typer.confirm(text_of(question).plain, err=True)
    except typer.Abort:  # Ctrl-C or Ctrl-D
        typer.echo(err=True)  # The question's line has no end.
        raise UnansweredError from None
    if not agreed:
        msg = "it was not confirmed, so nothing was changed"
        raise RefusedError(msg)
