"""27 regions, 6 places, orders that are given up after 10 minutes, and a worker killed 20 times."""

import asyncio
import signal
import sys
import threading
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from relight.domain.image.image import ImageStatus
from relight.domain.image.publication import ImagePublication, PublicationOutcome
from tests.workflows.harness import idle_installation
from tests.workflows.image.cloud import Count, Kill, TaskCloud, serve
from tests.workflows.image.publishing import NAME, Publishing, write_image
from tests.workflows.image.story_worker import Setup
from workflows.endings import result_of

REGIONS = tuple(f"region-{number:02}" for number in range(27))
FAILING = ("region-05", "region-20")
LASTS = {region: timedelta(minutes=8 + number % 9) for number, region in enumerate(REGIONS)}
TAIL = {"region-11": timedelta(minutes=75)}

BEFORE, AFTER = False, True
KILLS = tuple(
    Kill(call, number, after)
    for call, number, after in (
        ("sweep", 1, AFTER),
        ("stage", 2, AFTER),
        ("stage", 7, BEFORE),
        ("stage", 15, AFTER),
        ("import_image", 1, AFTER),
        ("import_image", 5, BEFORE),
        ("import_image", 9, AFTER),
        ("import_image", 14, AFTER),
        ("import_image", 20, BEFORE),
        ("import_image", 26, AFTER),
        ("image", 5, BEFORE),
        ("image", 60, AFTER),
        ("image", 150, BEFORE),
        ("image", 300, AFTER),
        ("images", 4, AFTER),
        ("images", 15, BEFORE),
        ("images", 24, AFTER),
        ("delete_image", 1, AFTER),
        ("unstage", 1, BEFORE),
        ("unstage", 2, AFTER),
    )
)
"""In each kind of call: before it does its work, and when only its answer is lost."""


@contextmanager
def served(cloud: TaskCloud) -> Iterator[tuple[str, int]]:
    """Serve a cloud to other processes, and yield the address."""
    server: Any = serve(cloud).get_server()

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


async def keep_a_worker(setup: Setup, killed: list[int]) -> None:
    """Run a worker; start another one whenever it was killed."""
    while True:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.workflows.image.story_worker"),
            setup.model_dump_json(),
            stdout=PIPE,
        )
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert code == -signal.SIGKILL
        killed.append(process.pid)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_25_regions_have_the_image_and_2_are_named(
    skipping_client: Client, tmp_path: Path
) -> None:
    cloud = TaskCloud(
        regions=REGIONS, slots=6, longer={**LASTS, **TAIL}, failing=FAILING, kills=KILLS
    )
    cloud.leave_object("an-image-of-a-lost-publication")
    images, killed = tmp_path / "images", list[int]()
    write_image(images)
    async with idle_installation(skipping_client, tmp_path) as harness:
        with served(cloud) as address:
            made = Publishing(harness, images, cloud)
            setup = Setup(
                temporal=skipping_client.service_client.config.target_host,
                namespace=skipping_client.namespace,
                task_queue=harness.task_queue,
                store=f"sqlite:///{tmp_path / 'fleet.db'}",
                folder=images,
                cloud=address,
            )
            keeping = asyncio.create_task(keep_a_worker(setup, killed))
            try:
                handle = await made.start()
                result = await result_of(handle.result(), ImagePublication)
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])
    assert (result.outcome, len(result.regions)) == (PublicationOutcome.PARTIAL, 27)
    assert tuple(each.region for each in result.failed) == FAILING
    assert {(each.attempts, each.fault and each.fault.kind) for each in result.failed} == {
        (2, "image-failed")
    }
    rows = made.recorded()
    assert Counter(each.status for each in rows.values()) == {"published": 25, "failed": 2}
    assert (len(killed), cloud.killed()) == (20, 20)
    counts = cloud.counts()
    assert counts[Count.REAPED] == 0
    assert counts[Count.IMPORTS] == 27 + len(FAILING)
    assert counts[Count.MOST_RUNNING] == counts[Count.MOST_ORDERED] == 6
    assert cloud.objects() == []
    there = {each.image_id: each for each in cloud.everything()}
    assert {each.status for each in there.values()} == {ImageStatus.AVAILABLE}
    assert {row.image_id for row in rows.values() if row.image_id} == {*there}
    assert [event.detail["name"] for event in harness.events(kind="image-recorded")] == [NAME]
