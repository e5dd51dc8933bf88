"""The report of rollouts over fleets of different size: table, JSON, and limits."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devkit.bench.report import Metric
from devkit.bench.scale.rollout import Figures

MAX_EVENTS = 10_000
MAX_BYTES = 5 * 2**20
"""Limits of one history: a fifth and a tenth of Temporal's limits, which end a workflow."""

MAX_GROWTH = {
    "worker_cpu_ms": 1.3,
    "server_cpu_ms": 1.3,
    "events": 1.1,
    "history_bytes": 1.1,
    "worker_peak_mib": 1.5,
}
"""The largest ratio of a large fleet's figure to the small fleet's. CPU time varies more."""

_METRICS = (
    Metric("routes", "routes"),
    Metric("wall s", "wall_seconds", digits=1),
    Metric("routes/s", "routes_per_second", digits=1),
    Metric("worker CPU ms/route", "worker_cpu_ms", digits=1),
    Metric("server CPU ms/route", "server_cpu_ms", digits=1),
    Metric("store's PostgreSQL: CPU ms/route", "database_cpu_ms", digits=1),
    Metric("history events/route", "events", digits=2),
    Metric("history KiB/route", "history_bytes", divisor=2**10, digits=2),
    Metric("worker peak MiB", "worker_peak_mib"),
    Metric("server peak MiB", "server_peak_mib"),
    Metric("rollout and waves: histories", "histories"),
    Metric("rollout and waves: most events", "largest_events"),
    Metric("rollout and waves: most MiB", "largest_bytes", divisor=2**20, digits=2),
    Metric("simulated hosts: CPU ms/route", "hosts_cpu_ms", digits=1),
)

_NOTE = (
    "The workers, the embedded server and the process that simulates the hosts share this "
    "computer's cores, which limits routes/s; CPU time is measured for each of them. "
    "The stability window is 0."
)


def violations(columns: Sequence[Figures]) -> list[str]:
    """Return the exceeded limits, one line each; growth is relative to the first column."""
    small = columns[0]
    found = []
    for figures in columns:
        at = f"at {figures.routes} routes"
        if figures.largest_events >= MAX_EVENTS:
            found.append(f"{at} a history has {figures.largest_events} events")
        if figures.largest_bytes >= MAX_BYTES:
            found.append(f"{at} a history has {figures.largest_bytes} bytes")
        for name, limit in MAX_GROWTH.items():
            growth = Metric("", name).ratio(figures, small)
            if growth > limit:
                found.append(f"{at} {name} is {growth:.2f} times that at {small.routes}")
    return found


def show(columns: Sequence[Figures]) -> None:
    """Print the table, with the ratios of the other columns to the first one."""
    small, *others = columns
    table = Table(title="A rollout over simulated hosts")
    table.add_column("")
    for _ in columns:
        table.add_column("", justify="right")
    for _ in others:
        table.add_column("times", justify="right")
    for metric in _METRICS:
        cells = [metric.text(each) for each in columns]
        cells += [f"{metric.ratio(each, small):.2f}" for each in others]
        table.add_row(metric.label, *cells)
    console = Console()
    console.print(table)
    console.print(_NOTE, highlight=False)


def write(columns: Sequence[Figures], file: Path) -> None:
    """Write all figures and the exceeded limits, as JSON."""
    content = {
        "rollouts": [each.as_dict() for each in columns],
        "violations": violations(columns),
    }
    file.write_text(json.dumps(content, indent=2) + "\n")
