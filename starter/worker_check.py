"""`python -m starter.worker_check`: a health check that fails unless this host's worker polls."""

import asyncio
import socket
import sys

from relight.engine.connection import connect
from relight.engine.errors import SetupError
from relight.engine.executions import worker_identities
from relight.process_end import end_process
from relight.settings import load_settings


async def _problem() -> str | None:
    settings = load_settings()
    host = socket.gethostname()
    try:
        client = await connect(settings)
    except SetupError as error:
        return str(error)
    identities = await worker_identities(client, settings.task_queue)
    if any(identity.endswith(f"@{host}") for identity in identities):
        return None
    return f"no worker of {host} listens on {settings.task_queue}"


if __name__ == "__main__":
    problem = asyncio.run(_problem())
    if problem:
        sys.stderr.write(f"{problem}\n")
    end_process(1 if problem else 0)
