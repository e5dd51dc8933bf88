"""The report of the comparison: a table for people, and JSON for programs."""

import json
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Metric(NamedTuple):
    """How one figure is shown in a table.

    Attributes:
        label: its row or column title.
        name: the attribute of the figures.
        divisor: the unit, such as 1024 for KiB of a figure in bytes.
        digits: the digits after the decimal point that are significant.
    """

    label: str
    name: str
    divisor: float = 1
    digits: int = 0

    def text(self, figures: object) -> str:
        """Return the figure as text."""
        return f"{getattr(figures, self.name) / self.divisor:,.{self.digits}f}"

    def ratio(self, figures: object, reference: object) -> float:
        """Return the figure divided by that of a reference; 1 if the latter is zero."""
        base = float(getattr(reference, self.name))
        return float(getattr(figures, self.name)) / base if base else 1.0


class Figures(NamedTuple):
    """The cost of one swap of the fleet. CPU seconds are per host."""

    wall_seconds: float
    controller_cpu_seconds: float
    host_cpu_seconds: float
    peak_mib: float


class Report(NamedTuple):
    """The results of all rounds.

    Attributes:
        hosts: the number of machines.
        rounds: the number of rounds.
        medians: by tool.
        all: the figures of each round, by tool.
    """

    hosts: int
    rounds: int
    medians: dict[str, Figures]
    all: dict[str, tuple[Figures, ...]]


REFERENCE = "relight"
"""The tool that the others are compared with."""

_METRICS = (
    Metric("wall s", "wall_seconds", digits=2),
    Metric("controller CPU ms/host", "controller_cpu_seconds", divisor=1e-3),
    Metric("host CPU s/host", "host_cpu_seconds", digits=2),
    Metric("controller peak MiB", "peak_mib"),
)

_NOTE = (
    "Machines and controller share this computer's cores, so wall time is mostly the hosts' CPU "
    "time. Every swap is from 0.0.73 to 0.0.74, which was just published. The hosts have Debian's "
    "full index, and their mirror answers that nothing is new. Every tool checks the service once "
    "(Relight's stability window is 0). Relight's controller is its worker and the Temporal "
    "server, which already run; the controller of another tool is every process that it starts. "
    "Resident memory that processes share is counted in each."
)


def show(report: Report) -> None:
    """Print the table of medians; in brackets the ratio to Relight's."""
    table = Table(title=f"Hot swap of {report.hosts} hosts, medians of {report.rounds} rounds")
    table.add_column("tool")
    for metric in _METRICS:
        table.add_column(metric.label, justify="right")
    reference = report.medians.get(REFERENCE)
    for tool, figures in report.medians.items():
        cells = [metric.text(figures) for metric in _METRICS]
        if reference is not None and tool != REFERENCE:
            ratios = [metric.ratio(figures, reference) for metric in _METRICS]
            cells = [f"{cell} ({times:.1f}x)" for cell, times in zip(cells, ratios, strict=True)]
        table.add_row(tool, *cells)
    console = Console()
    console.print(table)
    console.print(_NOTE, highlight=False)


def write(report: Report, file: Path) -> None:
    """Write all figures, their medians, and the ratios of the medians to Relight's, as JSON."""
    reference = report.medians.get(REFERENCE)
    content = {
        "hosts": report.hosts,
        "rounds": report.rounds,
        "medians": {name: figures._asdict() for name, figures in report.medians.items()},
        "ratios": {
            name: {metric.name: round(metric.ratio(figures, reference), 3) for metric in _METRICS}
            for name, figures in report.medians.items()
            if reference is not None
        },
        "all": {name: [each._asdict() for each in figures] for name, figures in report.all.items()},
    }
    file.write_text(json.dumps(content, indent=2) + "\n")
