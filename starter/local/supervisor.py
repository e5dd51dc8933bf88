"""`relight up`: starts the parts in order, watches them, and stops them in reverse order."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dotenv import dotenv_values
from temporalio.client import Client

from relight.engine.connection import (
    connect,
    require_search_attributes,
)
from relight.engine.executions import worker_identities
from relight.home import home_profile
from relight.person import owner_of
from relight.service_file import read_service_file
from relight.settings import Settings, load_settings
from starter.local.children import Child, running
from starter.local.home import (
    hand_over,
    prepare_home,
    prepare_service_secrets,
    service_secrets,
    write_env,
    write_temporal_profile,
)
from starter.local.lab import local_lab
from starter.local.processes import UpState, claim, publish
from starter.local.requirements import require_local
from starter.local.signals import cancelled_by_signals
from starter.local.temporal import EmbeddedTemporal, embedded_temporal

WORKER_READY_WITHIN = timedelta(seconds=60)
WORKER_STOP_WITHIN = timedelta(seconds=10)
"""It ends within 5 s by itself."""

_SECRETS_FILE = "RELIGHT_SERVICE__SECRETS_FILE"


@dataclass(frozen=True)
class Parts:
    """Which parts to start.

    Attributes:
        lab: the lab.
        temporal: an embedded server; without it, the environment names the server to use.
        worker: a worker.
        schedules: apply all of Relight's Temporal schedules; needs a worker. Without it only those
            that observe are applied.
        ui: the UI of the embedded server.
        fsync: each write of the embedded server waits for the disk.
        adopt_temporal: the Temporal namespace is the store's from now on, although the store has
            worked with another.
    """

    lab: bool = True
    temporal: bool = True
    worker: bool = True
    schedules: bool = False
    ui: bool = True
    fsync: bool = False
    adopt_temporal: bool = False

    @property
    def needs_client(self) -> bool:
        """Whether Temporal has to answer: everywhere but at a lab alone."""
        return self.temporal or self.worker or self.schedules or not self.lab

    def require_packages(self) -> None:
        """Check that the optional packages of these parts are installed.

        Raises:
            SetupError: one is not; the text says how to install it.
        """
        require_local(lab=self.lab, temporal=self.temporal)

    @property
    def flags(self) -> list[str]:
        """The options of `relight up` that start these parts."""
        switches = {name: on for name, on in vars(self).items() if name != "adopt_temporal"}
        adopt = ["--adopt-temporal"] if self.adopt_temporal else []
        return [f"--{'' if on else 'no-'}{name}" for name, on in switches.items()] + adopt


async def supervise(
    settings: Settings,
    parts: Parts,
    *,
    report: Callable[[str], None],
    on_ready: Callable[[UpState], None],
) -> None:
    """Start the parts and wait for SIGINT, SIGTERM or SIGHUP; then stop them.

    Args:
        settings: the home folder, and how Temporal is reached if it is not started here.
        parts: what to start.
        report: called with each progress message, one line.
        on_ready: called once when all parts are ready.

    Raises:
        AlreadyUpError: another supervisor holds the home folder.
        ChildFailedError: a part ended by itself, or did not become ready.
        SetupError: a part cannot be started here, or the store and Temporal are not of one fleet.
        StoreError: RELIGHT_STORE_URL names a store that has the tables of another version.
    """
    parts.require_packages()
    prepare_home(settings.home)
    _let_person_stop(settings.home)
    with cancelled_by_signals() as signalled:
        try:
            async with (
                claim(settings.home),
                _handed_over(settings.home),
                _all_up(settings, parts, report) as (state, children),
            ):
                publish(state)
                hand_over(settings.home)
                on_ready(state)
                await _first_failure(children)
        except asyncio.CancelledError:
            if not signalled():
                raise
            report("stopped")


def _let_person_stop(home: Path) -> None:
    """Behind `sudo`, let the owner of the home folder signal this process: `relight down` does."""
    if (owner := owner_of(home)).uid != os.geteuid():
        os.setresuid(owner.uid, os.geteuid(), os.geteuid())


@contextlib.asynccontextmanager
async def _handed_over(home: Path) -> AsyncIterator[None]:
    """Give what was made in the home folder to its owner, also after a failure: the logs."""
    try:
        yield
    finally:
        hand_over(home)


@contextlib.asynccontextmanager
async def _all_up(
    settings: Settings, parts: Parts, report: Callable[[str], None]
) -> AsyncIterator[tuple[UpState, list[Child]]]:
    home = settings.home
    ssh = prepare_home(home)
    env = {
        "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
        "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
    }
    children: list[Child] = []
    server: EmbeddedTemporal | None = None
    lab_url = repository_url = None
    async with contextlib.AsyncExitStack() as stack:
        if parts.lab:
            report("starting the lab (its first start builds the base image)")
            lab = await stack.enter_async_context(local_lab(home))
            children.append(lab.child)
            lab_url, repository_url = lab.addresses.url, lab.addresses.repository_url
            env |= {
                "RELIGHT_LAB__URL": lab.addresses.url,
                "RELIGHT_LAB__TOKEN_FILE": str(lab.addresses.token_file),
                "RELIGHT_REPOSITORY__URL": lab.addresses.repository_url,
                "RELIGHT_REPOSITORY__SIGNING_KEY": str(lab.addresses.signing_key),
            }
        env |= _secrets_file(settings, with_lab=parts.lab)
        write_env(home, env)
        hand_over(home)  # Temporal and the worker run as its owner
        if parts.temporal:
            report("starting Temporal")
            server = await stack.enter_async_context(
                embedded_temporal(home, fsync=parts.fsync, ui=parts.ui)
            )
            children.append(server.child)
            write_temporal_profile(home_profile(home), server.address, "default")
            stack.callback(home_profile(home).unlink, missing_ok=True)
        settings = load_settings(to_make=True)  # again, with the file `env` that was just written
        client: Client | None = None
        fleet_id: str | None = None
        if parts.needs_client:
            # Imported here only: `relight lab up` needs no store.
            from starter.local.membership import join_fleet  # noqa: PLC0415

            client = await connect(settings)
            await require_search_attributes(client)
            adopt = parts.adopt_temporal
            own_server = server is not None
            identity = await join_fleet(client, settings, own_server=own_server, adopt=adopt)
            fleet_id = identity.fleet_id
        if parts.worker and client is not None:
            report("starting the worker")
            children.append(await stack.enter_async_context(_worker(settings, client)))
        if parts.worker and client is not None:
            # Imported here only: with the workflows' modules it takes half a second.
            from starter import schedules  # noqa: PLC0415

            # A fleet that nobody observes would show dead hosts as serving.
            await schedules.apply(client, settings, only_observing=not parts.schedules)
        stack.callback(report, "stopping")
        yield (
            UpState(
                pid=os.getpid(),
                home=home,
                fleet=fleet_id,
                temporal=client.service_client.config.target_host if client else None,
                namespace=client.namespace if client else None,
                ui=server.ui_url or None if server else None,
                lab=lab_url,
                repository=repository_url,
                task_queue=settings.task_queue if parts.worker else None,
                logs=home / "logs",
            ),
            children,
        )


def _secrets_file(settings: Settings, *, with_lab: bool) -> dict[str, str]:
    """Return the variable of the secrets of the lab's service, if it is to be set.

    A file that a person has named stays: that of the service file, for which the variable is empty,
    and that of the file `env`.
    """
    home = settings.home
    set_now = dotenv_values(home / "env").get(_SECRETS_FILE)
    if set_now and Path(set_now) != service_secrets(home):
        return {}
    if "secrets_file" in read_service_file(home, settings.service_file):
        return {_SECRETS_FILE: ""}
    return {_SECRETS_FILE: str(prepare_service_secrets(home))} if with_lab else {}


@contextlib.asynccontextmanager
async def _worker(settings: Settings, client: Client) -> AsyncIterator[Child]:
    async with running(
        "the worker",
        [sys.executable, "-m", "worker"],
        log=settings.home / "logs" / "worker.log",
        env=settings.context.variables,
        stop_within=WORKER_STOP_WITHIN,
        run_as=owner_of(settings.home),
    ) as child:

        async def polls() -> bool:
            # The SDK's identity of a worker begins with its process id.
            identities = await worker_identities(client, settings.task_queue)
            return any(identity.startswith(f"{child.pid}@") for identity in identities)

        await child.wait_until_ready(polls, WORKER_READY_WITHIN)
        yield child


async def _first_failure(children: list[Child]) -> None:
    exits = [asyncio.create_task(child.unexpected_exit()) for child in children]
    try:
        if not exits:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(exits, return_when=asyncio.FIRST_COMPLETED)
        raise next(iter(done)).result()
    finally:
        for each in exits:
            each.cancel()
