"""The wall clock of the workers, which can jump while they run.

A small library (`clock.c`) is preloaded into them, and into the programs that they start. It adds
an offset, which all of them read from one file, to this computer's time. libfaketime does so too,
but replaces many more functions: a worker did not start under it (`Invalid argument`).
"""

import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from devkit.installation import temporary_home

_SOURCE = Path(__file__).with_name("clock.c")
_SECONDS = struct.Struct("@q")


@dataclass(frozen=True)
class WorkerClock:
    """The clock of all workers that are started with its variables.

    Attributes:
        library: is preloaded into each.
        offset: the file with the offset.
    """

    library: Path
    offset: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables of a worker that has this clock."""
        return {"LD_PRELOAD": str(self.library), "CHAOS_CLOCK_OFFSET": str(self.offset)}

    def jump(self, off: timedelta) -> None:
        """Set the clock so far off this computer's, in whole seconds; zero sets it right."""
        # Written in place: workers have the file mapped.
        with self.offset.open("r+b") as file:
            file.write(_SECONDS.pack(int(off.total_seconds())))


@contextmanager
def worker_clock() -> Iterator[WorkerClock]:
    """Build the library, and keep a clock that is right until it jumps."""
    with temporary_home("rlc-") as folder:
        clock = WorkerClock(folder / "clock.so", folder / "offset")
        clock.offset.write_bytes(_SECONDS.pack(0))
        compiler = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run([*compiler, "-o", clock.library, _SOURCE], check=True)  # noqa: S603 - ours
        yield clock
