"""Records the files that a worker's code passes during one wave of a rollout.

The worker's process starts it by a `sitecustomize` module, before any code of ours is imported.
From the first frame of `Wave.run` on, each file whose functions run is recorded, and each that
defines a model which is created. The record ends with the model `WaveEnded`. Imports do not count.
"""

import os
import sys
import threading
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType
from typing import Any

OUTPUT_VARIABLE = "HOUSE_TRACE_FILE"
ROOT = str(Path(__file__).parents[2])
FIRST = (f"{ROOT}/workflows/rollout/wave.py", "run")
LAST = "WaveEnded"


class Tracer:
    """A profile function, called at each call of a Python function."""

    def __init__(self, output: str) -> None:
        # Opened before any workflow runs: the sandbox forbids `open`.
        self._output = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._files: set[str] = set()
        self._is_on = False
        self._is_over = False

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Record the frame's file, if it counts."""
        code = frame.f_code
        if event != "call" or self._is_over or code.co_name == "<module>":
            return
        if code.co_filename.endswith("pydantic/main.py"):
            if self._is_on and code.co_name == "__init__":
                self._created(type(frame.f_locals["self"]))
            return
        if not _is_ours(code.co_filename):
            return
        self._is_on = self._is_on or (code.co_filename, code.co_name) == FIRST
        # The bodies of classes run at import.
        if self._is_on and code.co_flags & CO_OPTIMIZED and not _is_importing(frame):
            self._record(code.co_filename)

    def _created(self, model: type) -> None:
        module = sys.modules.get(model.__module__)
        file = getattr(module, "__file__", None) or ""
        if _is_ours(file):
            self._record(file)
        self._is_over = model.__name__ == LAST

    def _record(self, file: str) -> None:
        if file not in self._files:
            self._files.add(file)
            os.write(self._output, f"{file[len(ROOT) + 1 :]}\n".encode())


def _is_ours(file: str) -> bool:
    others = (f"{ROOT}/.venv/", f"{ROOT}/devkit/")
    return file.startswith(f"{ROOT}/") and not file.startswith(others)


def _is_importing(frame: FrameType) -> bool:
    caller = frame.f_back
    while caller is not None:
        file, name = caller.f_code.co_filename, caller.f_code.co_name
        if name == "<module>" and _is_ours(file) and not file.endswith("worker.py"):
            return True
        caller = caller.f_back
    return False


def start() -> None:
    """Trace this process, if the environment names a file for the record."""
    if output := os.environ.get(OUTPUT_VARIABLE):
        tracer = Tracer(output)
        sys.setprofile(tracer)
        threading.setprofile(tracer)
