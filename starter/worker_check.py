"""`python -m starter.worker_check`: does this host's worker ask for work? For health checks."""

import asyncio
import os
import socket
import sys

from relight.engine.connection import connect
from relight.engine.errors import TemporalUnreachableError
from relight.engine.executions import worker_identities
from relight.settings import load_settings


async def _complaint() -> str | None:
    settings = load_settings()
    host = socket.gethostname()
    try:
        client = await connect(settings)
    except TemporalUnreachableError as error:
        return str(error)
    identities = await worker_identities(client, settings.task_queue)
    if any(identity.endswith(f"@{host}") for identity in identities):
        return None
    return f"no worker of {host} listens on {settings.task_queue}"


if __name__ == "__main__":
    complaint = asyncio.run(_complaint())
    if complaint:
        sys.stderr.write(f"{complaint}\n")
        sys.stderr.flush()
    # Not sys.exit, for the same reason as in `starter.cli`.
    os._exit(1 if complaint else 0)
