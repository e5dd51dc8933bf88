"""A fault, as an operator reads it: what was attempted, where, and what was seen."""

import shlex

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from relight.domain.fault.fault import Fault

_COMMAND_CHARACTERS = 200


def fault_panel(subject: str, fault: Fault) -> RenderableType:
    """Return a panel that tells of a fault in full.

    Args:
        subject: what it befell, as in `route eu-1`.
        fault: what went wrong.
    """
    facts = [
        ("fault", f"{fault.kind} ({fault.fault_class})"),
        ("host", " ".join(part for part in (fault.machine_key, fault.host) if part) or None),
        ("attempted", fault.attempted or None),
        ("command", _command(fault.argv)),
        ("exit code", fault.exit_code),
    ]
    lines = [
        Text.assemble((f"{name:<10}", "dim"), f"{value}")
        for name, value in facts
        if value is not None
    ]
    seen: list[RenderableType] = [Text(fault.summary, style="bold red"), *lines]
    if fault.stderr_tail:
        seen += [Text("it said", style="dim"), Text(fault.stderr_tail)]
    if fault.journal_tail:
        seen += [Text("last log lines of the unit", style="dim")]
        seen += [Text(line) for line in fault.journal_tail]
    return Panel(Group(*seen), title=Text(subject), title_align="left", border_style="red")


def _command(argv: tuple[str, ...]) -> str | None:
    if not argv:
        return None
    text = " ".join(shlex.join(argv).split())
    return text if len(text) <= _COMMAND_CHARACTERS else f"{text[:_COMMAND_CHARACTERS]}..."
