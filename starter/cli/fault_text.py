"""A fault for people: what was attempted, on which host, what was observed, and what to do."""

import shlex
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from relight.domain.fault.advice import FaultSubject, advice_about
from relight.domain.fault.fault import Fault
from relight.domain.fault.output import without_progress
from relight.domain.text import visible
from starter.cli.output import text_of

_MAX_COMMAND_CHARACTERS = 200


def fault_panel(route: FaultSubject, fault: Fault) -> RenderableType:
    """Return a panel with all details of a fault.

    Args:
        route: the route that has the fault.
        fault: the fault.
    """
    facts = [
        ("fault", f"{fault.kind} ({fault.fault_class})"),
        ("host", " ".join(part for part in (fault.machine_key, fault.host) if part) or None),
        ("attempted", fault.attempted or None),
        ("command", _command(fault.argv)),
        ("exit code", fault.exit_code),
    ]
    lines: list[RenderableType] = [text_of(fault.summary, "bold red")]
    lines += [
        Text.assemble((f"{name:<10}", "dim"), visible(f"{value}"))
        for name, value in facts
        if value is not None
    ]
    if fault.stderr_tail:
        lines += [Text("standard error", style="dim"), _output([fault.stderr_tail])]
    if fault.journal_tail:
        lines += [Text("last log lines of the unit", style="dim")]
        lines += [_output(fault.journal_tail)]
    known = route._replace(machine_key=fault.machine_key or route.machine_key)
    if advice := advice_about(fault.kind, known):
        lines += [Text("what to do", style="dim"), text_of(advice, "yellow")]
    title = text_of(f"route {route.route_id}")
    return Panel(Group(*lines), title=title, title_align="left", border_style="red")


def _output(lines: Sequence[str]) -> Text:
    return text_of("\n".join(without_progress(lines)))


def _command(argv: tuple[str, ...]) -> str | None:
    if not argv:
        return None
    text = " ".join(shlex.join(argv).split())
    return text if len(text) <= _MAX_COMMAND_CHARACTERS else f"{text[:_MAX_COMMAND_CHARACTERS]}..."
