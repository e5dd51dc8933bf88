"""`python -m devkit.bench.store`: writes/s of the store on PostgreSQL, by processes and distance.

Each process writes hot swaps with as many threads as a worker: first the target, then the proof
with the event of the swap. PostgreSQL, the processes and the proxy that delays share this
computer's cores.
"""

import json as json_text
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from devkit.bench.store.delay_proxy import delayed
from devkit.bench.store.swaps import Period, provision, swap_during
from tests.support.postgres import SERVER_USER, PostgresServer, running_server

PROCESSES = (1, 2, 4)
ROUND_TRIPS_MS = (0.0, 0.5, 1.0)
GOAL = 400
"""Writes/s of the most processes at the longest round trip."""

WARM_UP_SECONDS = 1.5
"""Each process connects, and fills the caches of its statements."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Figures:
    """What was measured with a number of processes at a distance.

    Attributes:
        round_trip_ms: what the proxy adds; 0 is a Unix socket without proxy.
        cpu_ms: CPU time of the writing processes per write.
    """

    round_trip_ms: float
    processes: int
    writes_per_second: float
    cpu_ms: float


@app.command()
def bench_store(
    seconds: Annotated[float, typer.Option(min=1, help="Of each measurement.")] = 5.0,
    json: Annotated[Path | None, typer.Option(help="Also write all figures to this file.")] = None,
) -> None:
    """Measure how many writes per second the store does on PostgreSQL.

    Exits with 1 if four processes write fewer than 400 per second at a round trip of 1 ms.
    """
    with running_server({}) as server:
        figures = list(_measure(server, seconds))
    _show(figures)
    if json is not None:
        json.write_text(json_text.dumps([asdict(each) for each in figures], indent=2) + "\n")
    if figures[-1].writes_per_second < GOAL:
        sys.exit(f"error: {figures[-1].writes_per_second:.0f} writes/s, the goal is {GOAL}")


def _measure(server: PostgresServer, seconds: float) -> Iterator[Figures]:
    database = server.create_database()
    provision(server.url(database), max(PROCESSES))
    with ProcessPoolExecutor(max(PROCESSES), get_context("spawn")) as pool:
        # Starts the processes, which then import.
        _cell(pool, server.url(database), 0, max(PROCESSES), seconds=0.1)
        for round_trip_ms in ROUND_TRIPS_MS:
            with _url(server, database, round_trip_ms) as url:
                for processes in PROCESSES:
                    yield _cell(pool, url, round_trip_ms, processes, seconds)


@contextmanager
def _url(server: PostgresServer, database: str, round_trip_ms: float) -> Iterator[str]:
    if round_trip_ms == 0:
        yield server.url(database)
        return
    with delayed(server.socket_folder / ".s.PGSQL.5432", round_trip_ms / 1000) as port:
        yield f"postgresql://{SERVER_USER}@127.0.0.1:{port}/{database}"


def _cell(
    pool: ProcessPoolExecutor, url: str, round_trip_ms: float, processes: int, seconds: float
) -> Figures:
    begins = time.monotonic() + WARM_UP_SECONDS
    period = Period(begins, begins + seconds)
    running = [pool.submit(swap_during, url, each, period) for each in range(processes)]
    written = [each.result() for each in running]
    writes = sum(each.writes for each in written)
    cpu_ms = 1000 * sum(each.cpu_seconds for each in written) / max(writes, 1)
    return Figures(round_trip_ms, processes, writes / seconds, cpu_ms)


def _show(figures: list[Figures]) -> None:
    table = Table("round trip", title="The store on PostgreSQL: writes/s (CPU ms per write)")
    for processes in PROCESSES:
        table.add_column(f"{processes} process{'es' if processes > 1 else ''}", justify="right")
    for round_trip_ms in ROUND_TRIPS_MS:
        cells = [
            f"{each.writes_per_second:.0f} ({each.cpu_ms:.1f})"
            for each in figures
            if each.round_trip_ms == round_trip_ms
        ]
        table.add_row(f"{round_trip_ms:g} ms", *cells)
    Console().print(table)


if __name__ == "__main__":
    app()
