"""27 regions, 6 places, orders that are given up after 10 minutes, and a worker killed 20 times.

The worker's driver is that of Gcore, over HTTP against the fake of its API, and its staging is the
real one, against a server of S3. Both servers are in this process.
"""

import asyncio
import hashlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageManifest
from relight.domain.image.publication import (
    ImagePublication,
    PublicationOutcome,
    image_workflow_id,
    region_workflow_id,
)
from relight.images.staging import PREFIX
from relight.providers.gcore.creation import GcoreSettings
from relight.providers.tags import IDENTITY
from tests.providers.fakes.gcore import FakeGcore
from tests.providers.fakes.gcore_images import IMPORT
from tests.providers.fakes.gcore_state import Task
from tests.providers.fakes.object_storage import BUCKET, ObjectStorage, object_storage
from tests.workflows.image.observed_calls import Calls, Kill, served
from tests.workflows.image.publishing import NAME, Publishing, write_image
from tests.workflows.image.story_worker import Setup
from tests.workflows.installation import idle_installation
from workflows.endings import result_of

REGIONS = {f"region-{number:02}": 101 + number for number in range(27)}
"""Their numbers at Gcore, by the names of our locations."""

FAILING = ("region-05", "region-20")
LASTS = {region: timedelta(minutes=8 + number % 9) for number, region in enumerate(REGIONS)}
TAIL = {"region-11": timedelta(minutes=75)}

BEFORE, AFTER = False, True
KILLS = tuple(
    Kill(call, number, after)
    for call, number, after in (
        ("sweep", 1, AFTER),
        ("part", 1, BEFORE),
        ("stage", 2, AFTER),
        ("stage", 7, BEFORE),
        ("stage", 15, AFTER),
        ("import_image", 1, AFTER),
        ("import_image", 5, BEFORE),
        ("import_image", 9, AFTER),
        ("import_image", 14, AFTER),
        ("import_image", 20, BEFORE),
        ("import_image", 26, AFTER),
        ("image", 60, AFTER),
        ("image", 150, BEFORE),
        ("image", 300, AFTER),
        ("images", 4, AFTER),
        ("images", 30, BEFORE),
        ("images", 50, AFTER),
        ("delete_image", 1, AFTER),
        ("unstage", 1, BEFORE),
        ("unstage", 1, AFTER),
    )
)
"""In each kind of call: before it does its work, and when only its answer is lost. A part is one of
an upload: killed there, the upload is never completed."""


def settings_of(fake: FakeGcore, folder: Path) -> GcoreSettings:
    location = {"shapes": ["g2-standard-2-4"], "image_prefix": "base-"}
    locations = {
        name: {**location, "extra": {"region_id": number}} for name, number in REGIONS.items()
    }
    return fake.settings(folder, locations=locations, timeout=timedelta(seconds=60))


class Disk:
    """The staged disk, as the fake fetches it at the end of each import.

    Attributes:
        fetched: how often the right one was.
        exposed: URLs that could be read without their signature.
    """

    def __init__(self, manifest: ImageManifest) -> None:
        self.fetched = 0
        self.exposed: list[str] = []
        self._sha256 = manifest.disk_sha256

    def fetch(self, url: str) -> str | None:
        """Return what is wrong with what a URL gives; None if it is the disk."""
        unsigned = url.partition("?")[0]
        if httpx.get(unsigned).status_code != httpx.codes.FORBIDDEN:
            self.exposed.append(unsigned)
        answer = httpx.get(url)
        if hashlib.sha256(answer.content).hexdigest() != self._sha256:
            return f"status {answer.status_code}"
        self.fetched += 1
        return None


def leave_a_lost_publication(storage: ObjectStorage) -> None:
    """Let the bucket have a disk, and the upload of another one that was not completed."""
    where = {"LocationConstraint": "eu-north-1"}
    storage.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    folder = f"{PREFIX}{OWNER}/base-0-amd64/"
    storage.client.put_object(Bucket=BUCKET, Key=f"{folder}staged.qcow2", Body=b"a disk")
    storage.client.create_multipart_upload(Bucket=BUCKET, Key=f"{folder}half.qcow2")
    assert (len(storage.stored()), len(storage.uploads())) == (1, 1)


def most_ordered_at_once(imports: list[Task]) -> int:
    """Return how many imports were waiting or running at most."""
    ended = [(each.created, each.changed or each.created) for each in imports]
    return max(sum(begin <= at < end for begin, end in ended) for at, _ in ended)


async def keep_a_worker(setup: Setup, ended: list[int]) -> None:
    """Run a worker; let another one, which has started already, work whenever it was killed."""
    workers = [await started_worker(setup)]
    try:
        while True:
            workers.append(await started_worker(setup))
            assert workers[0].stdin is not None
            workers[0].stdin.write(b"\n")
            assert await workers[0].wait() == -signal.SIGKILL
            ended.append(workers.pop(0).pid)
    finally:
        for each in workers:
            if each.returncode is None:
                each.kill()
            await each.wait()


async def started_worker(setup: Setup) -> Process:
    """Start a worker, which waits."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.workflows.image.story_worker"),
        setup.model_dump_json(),
        stdin=PIPE,
        stdout=PIPE,
    )


async def histories(client: Client) -> bytes:
    """Return all that is in the histories of the publication and of its regions' last runs."""
    ids = [image_workflow_id(NAME), *(region_workflow_id(NAME, "gcore", each) for each in REGIONS)]
    found = [await client.get_workflow_handle(each).fetch_history() for each in ids]
    return b"".join(event.SerializeToString() for each in found for event in each.events)


@pytest.fixture
def storage():
    with object_storage() as served:
        leave_a_lost_publication(served)
        yield served


@pytest.fixture
def fake():
    fake = FakeGcore(REGIONS.values())
    fake.import_works = {REGIONS[name]: lasts for name, lasts in {**LASTS, **TAIL}.items()}
    fake.failing_imports = {REGIONS[name] for name in FAILING}
    with fake.served():
        yield fake


@pytest.mark.slow
@pytest.mark.timeout(350)  # The process of all tests ends after 360.
async def test_25_regions_have_the_image_and_2_are_named(
    skipping_client: Client, tmp_path: Path, fake: FakeGcore, storage: ObjectStorage
) -> None:
    images, ended = tmp_path / "images", list[int]()
    manifest = write_image(images)
    disk, calls = Disk(manifest), Calls(KILLS, fake.stand_at)
    fake.fetch = disk.fetch
    async with idle_installation(skipping_client, tmp_path) as harness:
        made = Publishing(harness, images)
        with served(calls) as address:
            setup = Setup(
                temporal=skipping_client.service_client.config.target_host,
                namespace=skipping_client.namespace,
                task_queue=harness.task_queue,
                store=f"sqlite:///{tmp_path / 'fleet.db'}",
                folder=images,
                gcore=settings_of(fake, tmp_path),
                staging=storage.settings(tmp_path),
                calls=address,
            )
            keeping = asyncio.create_task(keep_a_worker(setup, ended))
            try:
                handle = await made.start()
                result = await result_of(handle.result(), ImagePublication)
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])
        told = await histories(skipping_client)
    assert (calls.left, ended) == ([], calls.killed)
    assert len(ended) == 20
    assert (result.outcome, len(result.regions)) == (PublicationOutcome.PARTIAL, 27)
    assert tuple(each.region for each in result.failed) == FAILING
    assert {(each.attempts, each.fault and each.fault.kind) for each in result.failed} == {
        (2, "image-failed")
    }
    rows = made.recorded()
    assert Counter(each.status for each in rows.values()) == {"published": 25, "failed": 2}
    assert [event.detail["name"] for event in harness.events(kind="image-recorded")] == [NAME]

    # At Gcore: no order more than was wanted, and no image that is not on record.
    imports = [each for each in fake.tasks.values() if each.type == IMPORT]
    assert Counter(each.state for each in imports) == {"FINISHED": 25, "ERROR": 2 * len(FAILING)}
    assert fake.imports_reaped == []
    assert fake.most_imports_running == most_ordered_at_once(imports) == 6
    there = [each for each in fake.images if each.name == NAME]
    assert {(each.status, each.visibility, each.tags[IDENTITY]) for each in there} == {
        ("active", "private", manifest.identity)
    }
    assert {each.id: each.region for each in there} == {
        row.image_id: REGIONS[region] for region, row in rows.items() if row.image_id
    }
    assert len(there) == 25

    # In object storage: nothing is left, nothing was public, and nobody was told a URL.
    assert (storage.stored(), storage.uploads(), storage.public_buckets()) == ([], [], [])
    assert (disk.fetched, disk.exposed) == (25, [])
    assert {'"state": "ERROR"' in rows[each].answer for each in FAILING} == {True}
    for text in (told, *(each.answer.encode() for each in rows.values())):
        assert b"X-Amz-Signature" not in text
