"""A small fleet's figures and a large one's, side by side, and what is to be held of them."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devkit.bench.scale.rollout import Figures

MOST_EVENTS = 10_000
MOST_BYTES = 5 * 2**20
"""Of one history: a fifth and a tenth of what a Temporal server ends a workflow at."""

FLAT = {
    "worker_cpu_ms": 1.3,
    "server_cpu_ms": 1.3,
    "events": 1.1,
    "history_bytes": 1.1,
    "worker_peak_mib": 1.5,
}
"""How many times the small fleet's figure each may be at the large one. CPU time is not exact."""

_MIB = 2**20

# The name, the figure, what to divide it by, and how many digits of it mean something.
_ROWS = (
    ("routes", "routes", 1, 0),
    ("wall s", "wall_seconds", 1, 1),
    ("routes/s", "routes_per_second", 1, 1),
    ("worker CPU ms/route", "worker_cpu_ms", 1, 1),
    ("server CPU ms/route", "server_cpu_ms", 1, 1),
    ("history events/route", "events", 1, 2),
    ("history KiB/route", "history_bytes", 1024, 2),
    ("worker peak MiB", "worker_peak_mib", 1, 0),
    ("server peak MiB", "server_peak_mib", 1, 0),
    ("rollout and waves: histories", "histories", 1, 0),
    ("rollout and waves: most events", "largest_events", 1, 0),
    ("rollout and waves: most MiB", "largest_bytes", _MIB, 2),
    ("hosts, played: CPU ms/route", "hosts_cpu_ms", 1, 1),
)

_NOTE = (
    "One worker, the embedded server and the process that plays the hosts share this computer's "
    "cores, so routes/s is what all three leave to each other; CPU time is counted for each. "
    "The stability window is 0."
)


def wrong(columns: Sequence[Figures]) -> list[str]:
    """Return what does not hold; the first column is what the others are compared with."""
    found = []
    for figures in columns:
        at = f"at {figures.routes} routes"
        if figures.largest_events >= MOST_EVENTS:
            found.append(f"{at} a history has {figures.largest_events} events")
        if figures.largest_bytes >= MOST_BYTES:
            found.append(f"{at} a history has {figures.largest_bytes} bytes")
        for name, most in FLAT.items():
            times = _times(figures, columns[0], name)
            if times > most:
                found.append(f"{at} {name} is {times:.2f} times that at {columns[0].routes}")
    return found


def show(columns: Sequence[Figures]) -> None:
    """Print the table, with how many times the first column's each other figure is."""
    first, *others = columns
    table = Table(title="A rollout over hosts that are played")
    table.add_column("")
    for _ in columns:
        table.add_column("", justify="right")
    for _ in others:
        table.add_column("times", justify="right")
    for label, name, divisor, digits in _ROWS:
        cells = [f"{getattr(each, name) / divisor:,.{digits}f}" for each in columns]
        cells += [f"{_times(each, first, name):.2f}" for each in others]
        table.add_row(label, *cells)
    console = Console()
    console.print(table)
    console.print(_NOTE, highlight=False)


def write(columns: Sequence[Figures], file: Path) -> None:
    """Write all figures, and what does not hold, as JSON."""
    told = {"rollouts": [each.as_dict() for each in columns], "wrong": wrong(columns)}
    file.write_text(json.dumps(told, indent=2) + "\n")


def _times(figures: Figures, first: Figures, name: str) -> float:
    reference = float(getattr(first, name))
    return float(getattr(figures, name)) / reference if reference else 1.0
