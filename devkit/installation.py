"""A temporary installation of Relight: its home folder, its settings and its worker process."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from lab import inside
from relight.engine.executions import worker_identities
from relight.settings import Settings
from starter.local.children import Child, running
from starter.local.home import SshSecrets, prepare_service_secrets
from starter.local.lab import LabAddresses
from starter.local.membership import join_fleet

WORKER_READY_WITHIN = timedelta(seconds=60)


class ScriptError(Exception):
    """A script inside a lab machine failed."""


@contextmanager
def temporary_home(prefix: str) -> Iterator[Path]:
    """Make an empty home folder, and delete it when the block ends.

    Args:
        prefix: of the folder's name. It must be short: gpg-agent has a socket in a subfolder, and
            the path of a socket is limited to 107 characters.
    """
    home = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def isolated_home(prefix: str) -> Iterator[Path]:
    """Make a temporary home folder that this process and its children use as `RELIGHT_HOME`.

    Variables of another installation are removed from this process's environment, for good.
    """
    for name in [name for name in os.environ if name.startswith(("RELIGHT_", "TEMPORAL_"))]:
        if name != "RELIGHT_LAB_CACHE":
            del os.environ[name]
    # Bytecode is cached for every measured tool, as it is for installed programs.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with temporary_home(prefix) as home:
        os.environ["RELIGHT_HOME"] = str(home)
        yield home


def host_settings(home: Path, ssh: SshSecrets, stability_window: str) -> dict[str, str]:
    """Return the variables for access to hosts.

    Args:
        home: the home folder, where the service's secrets are created.
        ssh: the files that `prepare_home` returned.
        stability_window: how long a proof observes the unit, an ISO 8601 duration.
    """
    return {
        "RELIGHT_STABILITY_WINDOW": stability_window,
        "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
        "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
        "RELIGHT_SERVICE__SECRETS_FILE": str(prepare_service_secrets(home)),
    }


def lab_settings(lab: LabAddresses) -> dict[str, str]:
    """Return the variables for a lab's API and repository."""
    return {
        "RELIGHT_LAB__URL": lab.url,
        "RELIGHT_LAB__TOKEN_FILE": str(lab.token_file),
        "RELIGHT_REPOSITORY__URL": lab.repository_url,
        "RELIGHT_REPOSITORY__SIGNING_KEY": str(lab.signing_key),
    }


@asynccontextmanager
async def running_worker(
    client: Client, settings: Settings, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run a worker as `relight up` does; yield it once it polls, stop it when the block ends.

    The store gets its tables first, and the server its mark.

    Args:
        client: of the Temporal server.
        settings: of the installation.
        variables: further variables of its process.

    Raises:
        ChildFailedError: it ended by itself or did not become ready.
    """
    adopt = not settings.has_embedded_store  # A store of another server's was filled before.
    await join_fleet(client, settings, own_server=True, adopt=adopt)
    log = settings.home / "logs" / "worker.log"
    env = {"RELIGHT_HOME": str(settings.home), **(variables or {})}
    async with running("the worker", [sys.executable, "-m", "worker"], log=log, env=env) as worker:

        async def polls() -> bool:
            # By its pid: the server still lists a worker that was killed shortly before.
            try:
                identities = await worker_identities(client, settings.task_queue)
            except RPCError:
                return False  # The server was restarted, and the client has not reached it yet.
            return any(identity.startswith(f"{worker.pid}@") for identity in identities)

        await worker.wait_until_ready(polls, WORKER_READY_WITHIN)
        yield worker


async def run_inside(
    lab_state: Path, machine_id: str, script: str, *arguments: str, check: bool = True
) -> str:
    """Run a shell script as root inside a lab machine, without its network and sshd.

    Args:
        lab_state: the lab's state folder.
        machine_id: the lab's id of the machine.
        script: run by `sh -c`.
        arguments: `$1` and following.
        check: whether to raise an error when the script fails.

    Returns:
        Standard output and standard error, in one.

    Raises:
        ScriptError: with `check`, the script exited with another code than 0.
    """
    process = await asyncio.create_subprocess_exec(
        *inside.inside(lab_state, machine_id, ["sh", "-c", script, "devkit", *arguments]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode()
    if check and process.returncode != 0:
        raise ScriptError(f"machine {machine_id}: exit code {process.returncode}\n{text}")
    return text
