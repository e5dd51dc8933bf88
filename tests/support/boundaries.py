"""What befell each boundary of a workflow, and how that ended: a table at the end of a test run."""

from collections import defaultdict

import pytest
from rich.console import Console
from rich.table import Table


class Boundaries:
    """Tells, for each workflow, what came of each mishap at each of its boundaries."""

    def __init__(self) -> None:
        self._cells: defaultdict[str, dict[tuple[str, str], str]] = defaultdict(dict)

    def ended(self, workflow: str, boundary: str, injection: str, how: str) -> None:
        """Note how an operation ended; only what was asserted before may be said here."""
        self._cells[workflow][boundary, injection] = how

    def tables(self) -> list[Table]:
        """Return a table for each workflow: boundaries down, mishaps across."""
        return [_table(workflow, cells) for workflow, cells in sorted(self._cells.items())]


def _table(workflow: str, cells: dict[tuple[str, str], str]) -> Table:
    injections = list(dict.fromkeys(injection for _, injection in cells))
    table = Table(title=f"{workflow}: how it ends, by where and how it is interrupted")
    for title in ("boundary", *injections):
        table.add_column(title)
    for boundary in dict.fromkeys(boundary for boundary, _ in cells):
        table.add_row(boundary, *(cells.get((boundary, injection), "") for injection in injections))
    return table


_KEPT = pytest.StashKey[Boundaries]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEPT] = Boundaries()


@pytest.fixture
def boundaries(pytestconfig: pytest.Config) -> Boundaries:
    """Where tests say how what they interrupted has ended."""
    return pytestconfig.stash[_KEPT]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    console = Console(width=160, no_color=True)
    for table in terminalreporter.config.stash[_KEPT].tables():
        with console.capture() as capture:
            console.print(table)
        terminalreporter.write_line("")
        terminalreporter.write(capture.get())
