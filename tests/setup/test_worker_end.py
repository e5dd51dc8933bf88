"""The end of a worker that is told to stop, and in which something does not answer."""

import os
import signal
import subprocess
import sys

import pytest

WORKER = """\
import asyncio, os, sys
from datetime import timedelta
import worker
from relight.engine.logs import configure_logs

async def run():
    configure_logs("json")
    worker._stop_by_signals(asyncio.Event())
    os.write(1, b"ready")
    await asyncio.Event().wait()

worker.END_WITHIN = timedelta(seconds=0.5)
asyncio.run(run())
"""


@pytest.mark.parametrize("reader", ["answers", "gone", "stalled"])
def test_it_ends_in_time_whoever_reads_its_log(reader: str) -> None:
    read, write = os.pipe()
    argv = [sys.executable, "-c", WORKER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=write) as worker:
        assert worker.stdout is not None
        assert worker.stdout.read(5) == b"ready"
        if reader == "gone":
            os.close(read)
        elif reader == "stalled":
            os.set_blocking(write, False)
            while _fits(write):
                pass
            os.set_blocking(write, True)
        os.close(write)
        try:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(5) == 0
        finally:
            worker.kill()
    if reader != "gone":
        os.close(read)


def _fits(pipe: int) -> bool:
    try:
        return os.write(pipe, b"x" * 4096) > 0
    except BlockingIOError:
        return False
