"""A table at the end of a test run: how each operation ended, by where and how it was interrupted.

Tests report cells as properties, which also reach the terminal when tests run in processes.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from rich.console import Console
from rich.table import Table

_PROPERTY = "boundary"


class Cell(NamedTuple):
    """How an operation ended.

    Attributes:
        workflow: the operation's type.
        boundary: the activity or the call at which it was interrupted.
        interruption: what happened there.
        end: how the operation ended; only what a test has asserted.
    """

    workflow: str
    boundary: str
    interruption: str
    end: str


class Boundaries:
    """Collects the cells of one test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._properties = request.node.user_properties

    def ended(self, workflow: str, boundary: str, interruption: str, end: str) -> None:
        """Report a cell."""
        self._properties.append((_PROPERTY, [workflow, boundary, str(interruption), end]))


@pytest.fixture
def boundaries(request: pytest.FixtureRequest) -> Boundaries:
    """Where a test reports how the operations that it interrupted have ended."""
    return Boundaries(request)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    cells = [
        Cell(*value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for name, value in report.user_properties
        if name == _PROPERTY
    ]
    console = Console(width=160, no_color=True)
    for table in _tables(cells):
        with console.capture() as capture:
            console.print(table)
        terminalreporter.write_line("")
        terminalreporter.write(capture.get())


def _tables(cells: Iterable[Cell]) -> list[Table]:
    """Return a table for each workflow: boundaries down, interruptions across."""
    by_workflow = defaultdict(list)
    for cell in cells:
        by_workflow[cell.workflow].append(cell)
    return [_table(workflow, by_workflow[workflow]) for workflow in sorted(by_workflow)]


def _table(workflow: str, cells: list[Cell]) -> Table:
    ends = {(cell.boundary, cell.interruption): cell.end for cell in cells}
    interruptions = dict.fromkeys(cell.interruption for cell in cells)
    table = Table(title=f"{workflow}: how it ends, by where and how it is interrupted")
    for title in ("boundary", *interruptions):
        table.add_column(title)
    for boundary in dict.fromkeys(cell.boundary for cell in cells):
        table.add_row(boundary, *(ends.get((boundary, each), "") for each in interruptions))
    return table
