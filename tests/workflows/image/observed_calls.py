"""Calls that a worker reports to the test, which sets a clock by them and kills it in some.

The worker is in a process of its own. Time is what a call says: that of a server which skips it.
"""

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from temporalio import activity

from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageManifest,
    ImageName,
    ImageRef,
)
from relight.images.staging import Staging
from relight.providers.gcore.creation import GcoreSettings
from relight.providers.gcore.driver import GcoreDriver
from relight.providers.image_driver import DiskFile, ImageSpec, StagedDisk

T = TypeVar("T")

# ---------------------------------------------------------------- in the process of the test


class Kill(NamedTuple):
    """Kills the worker in one of its calls.

    Attributes:
        call: its name.
        number: of the calls of this name, over all workers; 1 for the first.
        after: it has done its work, and only its answer is lost. The number is then one of the
            calls that have ended; else of those that were begun.
    """

    call: str
    number: int
    after: bool


class Calls:
    """The calls of all workers.

    Attributes:
        killed: the workers, by process id.
        left: the kills that were not made yet.
    """

    def __init__(self, kills: Collection[Kill], set_clock: Callable[[datetime], None]) -> None:
        """Note no call yet.

        Args:
            kills: are made once each.
            set_clock: called with the time of each call before it is made.
        """
        self.killed: list[int] = []
        self.left = [*kills]
        self._set_clock = set_clock
        self._noted: Counter[tuple[str, bool]] = Counter()
        self._lock = threading.Lock()

    def begin(self, pid: int, name: str, now: datetime) -> None:
        """Note a call that a worker is about to make, and kill that worker if it is time."""
        with self._lock:
            self._set_clock(now)
            self._note(pid, name, after=False)

    def end(self, pid: int, name: str) -> None:
        """Note a call that was answered, and kill its worker if it is time."""
        with self._lock:
            self._note(pid, name, after=True)

    def _note(self, pid: int, name: str, *, after: bool) -> None:
        if pid in self.killed:
            return  # It reported this in its last moment.
        self._noted[name, after] += 1
        kill = Kill(name, self._noted[name, after], after)
        if kill in self.left:
            self.left.remove(kill)
            self.killed.append(pid)
            os.kill(pid, signal.SIGKILL)


class _Server(BaseManager):
    """Serves the calls to other processes."""


@contextmanager
def served(calls: Calls) -> Iterator[tuple[str, int]]:
    """Serve the calls to other processes, and yield the address."""
    _Server.register("calls", callable=lambda: calls)
    server: Any = _Server(address=("127.0.0.1", 0), authkey=b"a test").get_server()

    def run() -> None:
        with suppress(SystemExit):  # This is how it ends.
            server.serve_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        server.stop_event.set()
        thread.join(timeout=10)


# ---------------------------------------------------------------- in the process of the worker


class Observer:
    """Reports this worker's calls to the test."""

    def __init__(self, address: tuple[str, int]) -> None:
        _Server.register("calls")
        server = _Server(address=address, authkey=b"a test")
        server.connect()
        self._calls: Any = server.calls()  # type: ignore[attr-defined]

    async def call(self, name: str, work: Awaitable[T]) -> T:
        """Make a call, and report it before and after."""
        now = activity.info().current_attempt_scheduled_time
        await asyncio.to_thread(self._calls.begin, os.getpid(), name, now)
        answer = await work
        await asyncio.to_thread(self._calls.end, os.getpid(), name)
        return answer

    def note(self, name: str) -> None:
        """Report something that is not awaited."""
        self._calls.begin(os.getpid(), name, activity.info().current_attempt_scheduled_time)


class ObservedGcore(GcoreDriver):
    """Gcore's driver. It reports the calls that it makes to itself too: so a worker is killed
    between the search for an image and its order."""

    def __init__(self, settings: GcoreSettings, observer: Observer, **options: Any) -> None:
        super().__init__(settings, **options)
        self._observer = observer

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        return await self._observer.call("images", super().images(region, prefix))

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        return await self._observer.call("image", super().image(ref))

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        return await self._observer.call("import_image", super().import_image(spec, disk))

    async def delete_image(self, ref: ImageRef) -> bool:
        return await self._observer.call("delete_image", super().delete_image(ref))


class ObservedStaging:
    """Object storage. It reports each part of an upload too, before the upload is completed."""

    def __init__(self, staging: Staging, observer: Observer) -> None:
        self._staging = staging
        self._observer = observer

    async def stage(
        self, manifest: ImageManifest, path: Path, progress: Callable[[int], None]
    ) -> StagedDisk:
        def sent(size: int) -> None:
            progress(size)
            self._observer.note("part")

        return await self._observer.call("stage", self._staging.stage(manifest, path, sent))

    async def unstage(self, name: ImageName) -> None:
        await self._observer.call("unstage", self._staging.unstage(name))

    async def sweep(self, keep: Collection[ImageName]) -> Sequence[str]:
        return await self._observer.call("sweep", self._staging.sweep(keep))
