"""What `relight up` does: start the parts in order, watch them, stop them in reverse order."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client

from relight.engine.connection import (
    connect,
    connect_config,
    home_profile,
    require_search_attributes,
)
from relight.engine.executions import worker_identities
from relight.settings import Settings, load_settings
from starter.local.children import Child, running
from starter.local.home import (
    prepare_home,
    prepare_service_secrets,
    write_env,
    write_temporal_profile,
)
from starter.local.processes import (
    UpState,
    announce,
    claim,
)
from starter.local.temporal import EmbeddedTemporal, embedded_temporal

WORKER_READY_WITHIN = timedelta(seconds=60)
WORKER_STOP_WITHIN = timedelta(seconds=30)


@dataclass(frozen=True)
class Parts:
    """Which parts are wanted.

    Attributes:
        temporal: a server of our own; without it, the one that the environment names.
        schedules: not only a worker, but what Temporal does by the clock.
    """

    lab: bool = True
    temporal: bool = True
    worker: bool = True
    schedules: bool = False


async def supervise(
    settings: Settings,
    parts: Parts,
    *,
    say: Callable[[str], None],
    on_ready: Callable[[UpState], None],
) -> None:
    """Start the parts and stay until SIGINT, SIGTERM or SIGHUP; then stop them.

    Args:
        settings: where the home folder is, and how Temporal is reached if not started here.
        parts: what to start.
        say: is told what happens, one line at a time.
        on_ready: is told once that all parts answer.

    Raises:
        AlreadyUpError: another supervisor holds the home folder.
        ChildFailedError: a part ended by itself, or did not get ready.
        StarterError: a part cannot be started here.
    """
    prepare_home(settings.home)
    with _stoppable() as stopped:
        try:
            async with claim(settings.home), _all_up(settings, parts, say) as (state, children):
                announce(state)
                on_ready(state)
                await _first_failure(children)
        except asyncio.CancelledError:
            if not stopped():
                raise
            say("stopped")


@contextlib.asynccontextmanager
async def _all_up(
    settings: Settings, parts: Parts, say: Callable[[str], None]
) -> AsyncIterator[tuple[UpState, list[Child]]]:
    home = settings.home
    ssh = prepare_home(home)
    told = {
        "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
        "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
    }
    children: list[Child] = []
    server: EmbeddedTemporal | None = None
    lab_url = repository_url = None
    async with contextlib.AsyncExitStack() as stack:
        if parts.lab:
            # Only here: without a lab, nothing of it need be there.
            from starter.local.lab import local_lab  # noqa: PLC0415

            say("starting the lab (its first start builds the base image)")
            lab = await stack.enter_async_context(local_lab(home))
            children.append(lab.child)
            lab_url, repository_url = lab.addresses.url, lab.addresses.repository_url
            told |= {
                "RELIGHT_LAB__URL": lab.addresses.url,
                "RELIGHT_LAB__TOKEN_FILE": str(lab.addresses.token_file),
                "RELIGHT_REPOSITORY__URL": lab.addresses.repository_url,
                "RELIGHT_REPOSITORY__SIGNING_KEY": str(lab.addresses.signing_key),
                "RELIGHT_SERVICE__SECRETS_FILE": str(prepare_service_secrets(home)),
            }
        write_env(home, told)
        if parts.temporal:
            say("starting Temporal")
            server = await stack.enter_async_context(embedded_temporal(home))
            children.append(server.child)
            write_temporal_profile(home_profile(home), server.address, "default")
            stack.callback(home_profile(home).unlink, missing_ok=True)
        settings = load_settings()
        client: Client | None = None
        # A lab alone has no use for one.
        if parts != Parts(lab=True, temporal=False, worker=False):
            client = await connect(settings)
            await require_search_attributes(client)
        if parts.worker and client is not None:
            say("starting the worker")
            children.append(await stack.enter_async_context(_worker(settings, client)))
            if parts.schedules:
                # Only here: it takes workflows' modules, and half a second, to import.
                from starter import schedules  # noqa: PLC0415

                await schedules.apply(client, settings)
        stack.callback(say, "stopping")
        yield (
            UpState(
                pid=os.getpid(),
                home=home,
                temporal=connect_config(settings)["target_host"] if client else None,
                namespace=client.namespace if client else None,
                ui=server.ui_url if server else None,
                lab=lab_url,
                repository=repository_url,
                task_queue=settings.task_queue if parts.worker else None,
                logs=home / "logs",
            ),
            children,
        )


@contextlib.asynccontextmanager
async def _worker(settings: Settings, client: Client) -> AsyncIterator[Child]:
    async with running(
        "the worker",
        [sys.executable, "-m", "worker"],
        log=settings.home / "logs" / "worker.log",
        env={"RELIGHT_HOME": str(settings.home)},
        stop_within=WORKER_STOP_WITHIN,
    ) as child:

        async def polls() -> bool:
            # The SDK's identity of a worker begins with its pid.
            identities = await worker_identities(client, settings.task_queue)
            return any(identity.startswith(f"{child.pid}@") for identity in identities)

        await child.until(polls, WORKER_READY_WITHIN)
        yield child


async def _first_failure(children: list[Child]) -> None:
    ends = [asyncio.create_task(child.ended()) for child in children]
    try:
        if not ends:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        raise next(iter(done)).result()
    finally:
        for end in ends:
            end.cancel()


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """Turn the first signal to stop into the cancellation of this task; further ones wait.

    A second Ctrl-C must not cut off the parts' own clean-up.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    received: list[signal.Signals] = []

    def stop(received_now: signal.Signals) -> None:
        if not received:
            task.cancel()
        received.append(received_now)

    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for each in stops:
        loop.add_signal_handler(each, stop, each)
    try:
        yield lambda: bool(received)
    finally:
        for each in stops:
            loop.remove_signal_handler(each)
