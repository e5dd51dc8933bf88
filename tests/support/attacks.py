"""A table at the end of a test run: what was done to a fleet that is in order, and what came of it.

A test marked `attack(WHAT)` does it, and asserts that no healthy machine is destroyed and that the
control plane goes on.
"""

from collections import Counter

import pytest
from rich.console import Console
from rich.table import Table

_PROPERTY = "attack"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note the attack as a property, which also reaches the terminal from other processes."""
    item.user_properties += [(_PROPERTY, mark.args[0]) for mark in item.iter_markers(_PROPERTY)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ended: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if report.when == "call" or outcome == "failed":
                for name, what in report.user_properties:
                    if name == _PROPERTY:
                        ended.setdefault(what, Counter())[outcome] += 1
    if not ended:
        return
    table = Table(title="Attacks: no healthy machine is destroyed, and the control plane goes on")
    for title in ("attack", "tests passed", "failed"):
        table.add_column(title)
    for what in sorted(ended):
        table.add_row(what, str(ended[what]["passed"]), str(ended[what]["failed"]))
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(table)
    terminalreporter.write_line("")
    terminalreporter.write(capture.get())
