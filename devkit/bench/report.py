"""What was measured, as a table for people and as JSON for others."""

import json
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Figures(NamedTuple):
    """What one swap of the fleet cost; the CPU seconds are per host."""

    wall_seconds: float
    controller_cpu_seconds: float
    host_cpu_seconds: float
    peak_mib: float


class Report(NamedTuple):
    """What all rounds came to."""

    hosts: int
    rounds: int
    medians: dict[str, Figures]
    all: dict[str, tuple[Figures, ...]]


REFERENCE = "relight"

_COLUMNS = (
    ("wall s", 1, 2),
    ("controller CPU ms/host", 1000, 0),
    ("host CPU s/host", 1, 2),
    ("controller peak MiB", 1, 0),
)

_NOTE = (
    "Machines and controller share this computer's cores, so wall time is mostly the hosts' CPU "
    "time. Every swap is from 0.0.73 to 0.0.74, just published, on hosts with Debian's full index, "
    "whose mirror answers that nothing is new. All look once (Relight's stability window is 0). "
    "Relight's controller is its worker and the Temporal server, which run already; the others' is "
    "all that they start. Resident memory that processes share is counted in each."
)


def show(report: Report) -> None:
    """Print the table; in brackets how many times Relight's figure it is."""
    table = Table(title=f"Hot swap of {report.hosts} hosts, medians of {report.rounds} rounds")
    table.add_column("tool")
    for name, _, _ in _COLUMNS:
        table.add_column(name, justify="right")
    own = report.medians.get(REFERENCE)
    for tool, figures in report.medians.items():
        cells = []
        for at, (_, factor, digits) in enumerate(_COLUMNS):
            ratio = f" ({figures[at] / own[at]:.1f}x)" if own and tool != REFERENCE else ""
            cells.append(f"{figures[at] * factor:.{digits}f}{ratio}")
        table.add_row(tool, *cells)
    console = Console()
    console.print(table)
    console.print(_NOTE, highlight=False)


def write(report: Report, file: Path) -> None:
    """Write all figures, and the medians' ratios to Relight's."""
    own = report.medians.get(REFERENCE)
    told = {
        "hosts": report.hosts,
        "rounds": report.rounds,
        "medians": {name: figures._asdict() for name, figures in report.medians.items()},
        "ratios": {
            name: {
                column: round(value / reference, 3)
                for column, value, reference in zip(Figures._fields, figures, own, strict=True)
            }
            for name, figures in report.medians.items()
            if own is not None
        },
        "all": {name: [each._asdict() for each in figures] for name, figures in report.all.items()},
    }
    file.write_text(json.dumps(told, indent=2) + "\n")
