"""A lab that runs: its parts in the order in which they stand on each other, and their end."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from lab import cgroups, image, kernel, lifecycle, locks, network, packages, repository
from lab.api import lab_api
from lab.cache import cache_folder
from lab.cloud import Cloud
from lab.errors import LabError
from lab.names import LabNames

_LOG = logging.getLogger("lab")


class _Server(uvicorn.Server):
    """A server that leaves signals to us: we stop our parts in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(name: str, state: Path) -> None:
    """Serve a lab until SIGINT or SIGTERM, and remove all of it then.

    Args:
        name: its name.
        state: the folder for its state, an absolute path.

    Raises:
        LabError: this computer cannot carry it, or one of this name runs already.
    """
    names = LabNames(name)
    if missing := lifecycle.preflight():
        raise LabError("this computer cannot carry the lab; it lacks " + "; ".join(missing))
    with locks.only_one(name):
        work = asyncio.create_task(_serve(names, state))
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()

        def stop() -> None:
            # Once: a second Ctrl-C must not interrupt the removal.
            if not stopping.is_set():
                stopping.set()
                work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def _serve(names: LabNames, state: Path) -> None:
    _make_private(state)
    for leftover in lifecycle.remove_leftovers(names, state):
        _LOG.info("removed what an earlier lab left: %s", leftover)
    try:
        async with _standing(names, state) as addresses:
            _write(state / lifecycle.LAB_FILE, json.dumps(addresses, indent=2) + "\n", 0o644)
            _LOG.info("the lab %s answers at %s", names.name, addresses["url"])
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                _remove(state / lifecycle.LAB_FILE)
    finally:
        await asyncio.to_thread(lifecycle.remove_leftovers, names, state)
        _LOG.info("the lab %s is gone", names.name)


@contextlib.asynccontextmanager
async def _standing(names: LabNames, state: Path) -> AsyncIterator[dict[str, Any]]:
    """Set up every part, and take the machines down at the end."""
    if raised := kernel.raise_limits():
        _LOG.info("raised limits of the kernel: %s", ", ".join(raised))
    root, debs = await asyncio.gather(image.base_image(), packages.built_packages())
    architecture = image.architecture()
    net = await network.open_network(names, cache_folder() / ".network.lock")
    cgroups.folder(names.tag).mkdir(exist_ok=True)
    public = state / "signing-key.asc"
    key = repository.make_signing_key(state / "gnupg", public)
    repository.publish(state / "repository", debs, key, architecture)
    files = Starlette(routes=[Mount("/", StaticFiles(directory=state / "repository"))])
    cloud = Cloud(net, root, state / lifecycle.MACHINES, architecture)
    token = secrets.token_urlsafe(32)
    _write(state / "token", token, 0o600)
    try:
        async with (
            _answering(lab_api(cloud, token, image.image_name()), "127.0.0.1") as url,
            _answering(files, str(net.gateway)) as repository_url,
        ):
            yield {
                "name": names.name,
                "pid": os.getpid(),
                "url": url,
                "token_file": str(state / "token"),
                "repository_url": repository_url,
                "signing_key": str(public),
                "network": str(net.range),
                "image": image.image_name(),
            }
    finally:
        await cloud.close()


@contextlib.asynccontextmanager
async def _answering(app: Any, host: str) -> AsyncIterator[str]:
    """Serve an application at a free port until the block ends, and yield its address."""
    with socket.create_server((host, 0), backlog=1024) as listener:
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            yield f"http://{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            await task


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # seeds of machines hold secrets


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _write(path: Path, text: str, mode: int) -> None:
    staged = path.with_name(f".{path.name}")
    staged.unlink(missing_ok=True)
    staged.touch(mode=mode)
    staged.write_text(text)
    staged.replace(path)


async def build_image() -> None:
    """Build what a lab needs and is not in the cache yet.

    Raises:
        LabError: it cannot be built.
    """
    root, debs = await asyncio.gather(image.base_image(), packages.built_packages())
    print(f"lab: {root}\nlab: {debs}", file=sys.stderr)  # noqa: T201
