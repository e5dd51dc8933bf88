"""A running lab: starts its parts in order, and stops them in reverse order."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from lab import cgroups, image, lifecycle, locks, network, packages, repository, stock
from lab.api import lab_api
from lab.cache import cache_folder
from lab.cloud import Cloud
from lab.errors import LabError
from lab.names import LabNames
from lab.preflight import raise_limits

_LOG = logging.getLogger("lab")


class _Server(uvicorn.Server):
    """A server without signal handlers: the lab stops its parts in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


Parts = Callable[[LabNames, Path], AbstractAsyncContextManager[Mapping[str, Any]]]
"""Starts every part of a lab of this name, with this folder for its state, and yields the content
of `lab.json`; the end of the block stops them."""


async def serve(name: str, state: Path, parts: Parts | None = None) -> None:
    """Run a lab until SIGINT or SIGTERM, then remove everything of it.

    Args:
        name: the lab's name.
        state: the absolute path of the folder for its state.
        parts: what it consists of; by default a cloud of machines and a repository.

    Raises:
        LabError: this computer cannot run a lab, or a lab with this name is already running.
    """
    names = LabNames(name)
    if missing := lifecycle.preflight():
        raise LabError("this computer cannot run the lab; it lacks " + "; ".join(missing))
    with locks.only_one(name):
        work = asyncio.create_task(_serve(names, state, parts or _all_up))
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()

        def stop() -> None:
            # Only once: a second Ctrl-C must not interrupt the removal.
            if not stopping.is_set():
                stopping.set()
                work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def _serve(names: LabNames, state: Path, parts: Parts) -> None:
    lab_file = state / lifecycle.LAB_FILE
    _make_private(state)
    for leftover in lifecycle.remove_leftovers(names, state):
        _LOG.info("removed a leftover of an earlier lab: %s", leftover)
    try:
        async with parts(names, state) as addresses:
            write(lab_file, json.dumps(addresses, indent=2) + "\n", 0o644)
            _LOG.info("the lab %s serves at %s", names.name, addresses["url"])
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                lab_file.unlink(missing_ok=True)
    finally:
        await asyncio.to_thread(lifecycle.remove_leftovers, names, state)
        _LOG.info("the lab %s is removed", names.name)


@contextlib.asynccontextmanager
async def _all_up(names: LabNames, state: Path) -> AsyncIterator[dict[str, Any]]:
    """Start every part and yield the content of `lab.json`; remove the machines at the end."""
    if raised := raise_limits():
        _LOG.info("raised kernel limits: %s", ", ".join(raised))
    root, debs = await asyncio.gather(image.base_image(), packages.built_packages())
    architecture = image.architecture()
    net = await network.open_network(names, cache_folder() / ".network.lock")
    cgroups.folder(names.tag).mkdir(exist_ok=True)
    public = state / "signing-key.asc"
    key = repository.make_signing_key(state / "gnupg", public)
    repository.publish(state / "repository", debs, key, architecture)
    files = Starlette(routes=[Mount("/", StaticFiles(directory=state / "repository"))])
    layer = stock.make_layer(state / "stock")
    cloud = Cloud(net, root, state / lifecycle.MACHINES, architecture, layer)
    token = secrets.token_urlsafe(32)
    write(state / "token", token, 0o600)
    try:
        async with (
            _serving(lab_api(cloud, token, image.image_name()), "127.0.0.1") as url,
            _serving(files, str(net.gateway)) as repository_url,
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
async def _serving(app: Any, host: str) -> AsyncIterator[str]:
    """Serve an application at a free port until the block ends; yield its URL."""
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
    folder.chmod(0o700)  # cloud-init seeds of machines contain secrets


def write(path: Path, text: str, mode: int) -> None:
    """Write a file so that nobody reads a part of it, or what the mode keeps from them."""
    staged = path.with_name(f".{path.name}")
    staged.unlink(missing_ok=True)
    staged.touch(mode=mode)
    staged.write_text(text)
    staged.replace(path)


async def build_image() -> None:
    """Build the base image and the packages, unless they are in the cache.

    Raises:
        LabError: the build failed.
    """
    root, debs = await asyncio.gather(image.base_image(), packages.built_packages())
    print(f"lab: {root}\nlab: {debs}", file=sys.stderr)  # noqa: T201
