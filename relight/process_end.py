"""The end of a process that has used Temporal's SDK."""

import os
import sys
from typing import NoReturn


def end_process(code: int) -> NoReturn:
    """End this process at once. What it has printed is written.

    Not by sys.exit: threads of the SDK may still run while the interpreter shuts down, which
    sometimes aborts the process with 134, or never ends (temporalio/sdk-python#300).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
