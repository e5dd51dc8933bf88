"""Linode's own SDK reads what the fake answers, and sends what the driver sends."""

import io
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes

from devkit.exercised import Against
from relight.providers.driver import MachineSpec
from relight.providers.image_driver import DiskFile, ImageSpec
from relight.providers.linode.driver import LinodeDriver
from relight.providers.linode.listing import PAGE_SIZE
from relight.providers.rate import RateLimits
from tests.providers.fakes.base import Received
from tests.providers.fakes.linode import TOKEN, LinodeFake
from tests.providers.fakes.linode_images import REGIONS
from tests.support.exercised import note
from tests.support.image_clouds import manifest, write_qcow2

linode_api4 = pytest.importorskip("linode_api4", reason="the extra `oracles` is not installed")

KEY = "r-1-g1"
SPEC = MachineSpec(
    region=REGIONS[0],
    user_data=SecretBytes(b"#cloud-config\n{}\n"),
    owner="us",
    generation=1,
    created_by="8a1b4c62-0000-4000-8000-000000000000",
)
COMPARED = ("authorization", "x-filter")


@pytest.fixture
def fake() -> Iterator[LinodeFake]:
    fake = LinodeFake()
    with fake.served():
        yield fake


@pytest.fixture
async def driver(fake: LinodeFake, tmp_path: Path) -> AsyncIterator[LinodeDriver]:
    driver = LinodeDriver(fake.settings(tmp_path), RateLimits())
    yield driver
    await driver.close()


@pytest.fixture
def sdk(fake: LinodeFake) -> Iterator[Any]:
    client = linode_api4.LinodeClient(
        TOKEN, base_url=f"{fake.url}/v4", page_size=PAGE_SIZE, retry=False
    )
    yield client
    client.session.close()


def sent(received: Received) -> tuple[str, str, Mapping[str, Any], Any]:
    """Return what both must send alike. The SDK asks for the first page without its number."""
    headers = {
        # The SDK leaves out the order that is Linode's default.
        name: json.loads(value) | {"+order": "asc"} if name == "x-filter" else value
        for name, value in received.headers.items()
        if name in COMPARED
    }
    path = received.path.replace("page=1&", "")
    return received.method, path, headers, json.loads(received.body) if received.body else None


async def test_the_sdk_sends_the_same_creation(fake: LinodeFake, driver: LinodeDriver, sdk: Any):
    created = await driver.ensure(KEY, SPEC)
    [ours] = [each for each in fake.received if each.method == "POST"]
    fake.machines.clear()
    body = json.loads(ours.body)
    made = sdk.linode.instance_create(
        body["type"],
        body["region"],
        image=body["image"],
        root_pass=body["root_pass"],
        label=KEY,
        booted=True,
        tags=body["tags"],
        metadata=sdk.linode.build_instance_metadata(
            user_data=SPEC.user_data.get_secret_value().decode()
        ),
    )
    assert sent(fake.received[-1]) == sent(ours)
    assert made.label == created.key
    note("linode", "ensure", Against.ORACLE)


async def test_the_sdk_sends_the_same_search(fake: LinodeFake, driver: LinodeDriver, sdk: Any):
    instance = linode_api4.Instance
    fake.add(KEY)
    await driver.find(KEY)
    ours = fake.received[-1]
    found = sdk.linode.instances((instance.label == KEY).order_by(instance.id))
    assert [each.label for each in found] == [KEY]
    assert sent(fake.received[-1]) == sent(ours)
    note("linode", "find", Against.ORACLE)


async def test_the_sdk_reads_a_machine_as_the_driver_does(
    fake: LinodeFake, driver: LinodeDriver, sdk: Any
):
    created = await driver.ensure(KEY, SPEC)
    [shown] = sdk.linode.instances()
    found = await driver.get(created.provider_id)
    assert found is not None
    assert (str(shown.id), shown.label) == (found.provider_id, found.key)
    assert (shown.region.id, shown.ipv4[-1]) == (found.region, found.address)
    assert f"relight-owner={found.owner}" in shown.tags
    assert isinstance(shown.created, datetime)
    assert found.created_at is not None
    assert shown.created == found.created_at.replace(tzinfo=None)
    note("linode", "get", Against.ORACLE)
    note("linode", "list", Against.ORACLE)


async def test_the_sdk_sends_the_same_deletion(fake: LinodeFake, driver: LinodeDriver, sdk: Any):
    machine = await driver.ensure(KEY, SPEC)
    await driver.destroy(machine.ref)
    ours = fake.received[-1]
    number = fake.add("r-2-g1").id
    assert linode_api4.Instance(sdk, number).delete()
    theirs = fake.received[-1]
    assert (theirs.method, ours.method) == ("DELETE", "DELETE")
    assert theirs.path.replace(str(number), machine.provider_id) == ours.path
    note("linode", "destroy", Against.ORACLE)


@pytest.mark.parametrize("label", [KEY, "r-2-g1"])
async def test_the_sdk_reads_a_refusal_as_the_driver_does(
    fake: LinodeFake, driver: LinodeDriver, sdk: Any, label: str
):
    fake.add(label)
    with pytest.raises(linode_api4.ApiError) as refused:
        sdk.linode.instance_create(
            "g6-nanode-1",
            REGIONS[0],
            image="private/100",
            root_pass="x" * 12,
            label=label,
            tags=["abc"],
            metadata={"user_data": ""},
        )
    assert refused.value.status == 400
    assert refused.value.errors == ["Label must be unique"]


async def test_the_sdk_reads_images_and_the_profile(fake: LinodeFake, sdk: Any):
    assert [each.label for each in sdk.images()] == ["relight-base-1", "relight-base-0"]
    [image, _] = sdk.images()
    assert image.capabilities == ["cloud-init"]
    assert [each.region for each in image.regions] == list(REGIONS)
    assert sdk.profile().username == "relight"
    note("linode", "report", Against.ORACLE)


# ---------------------------------------------------------------------- base images


@pytest.fixture
def disk(tmp_path: Path) -> DiskFile:
    path = tmp_path / "disk.qcow2"
    write_qcow2(path)
    return DiskFile(path, lambda sent: None)


async def test_the_sdk_uploads_and_copies_an_image_as_the_driver_does(
    fake: LinodeFake, driver: LinodeDriver, sdk: Any, disk: DiskFile
):
    spec = ImageSpec(manifest("relight-base-7-amd64"), REGIONS[0], "us")
    begun = await driver.import_image(spec, disk)
    [ours] = [each for each in fake.received if each.method == "POST"]
    [file] = [each for each in fake.received if each.method == "PUT"]
    body = json.loads(ours.body)
    image, upload_to = sdk.images.create_upload(
        body["label"],
        body["region"],
        description=body["description"],
        cloud_init=True,
        tags=body["tags"],
    )
    assert sent(fake.received[-1]) == sent(ours)
    assert (image.status, upload_to.startswith(fake.url)) == ("pending_upload", True)
    assert image.id != begun.image_id
    sdk.images.upload(body["label"], body["region"], io.BytesIO(file.body))
    theirs = [each for each in fake.received if each.method == "PUT"][-1]
    assert (theirs.method, theirs.body) == (file.method, file.body)
    for name in ("content-type", "content-length"):
        assert theirs.headers[name] == file.headers[name]
    note("linode", "import_image", Against.ORACLE)

    for _ in range(3):
        source = await driver.image(begun)
    assert source is not None
    await driver.copy_image(spec._replace(region=REGIONS[1]), source)
    ours = fake.received[-1]
    found = linode_api4.Image(sdk, begun.image_id)
    found.replicate([each.region for each in found.regions])
    assert sent(fake.received[-1]) == sent(ours)
    assert {each.region: str(each.status) for each in found.regions}.keys() == set(REGIONS)
    note("linode", "copy_image", Against.ORACLE)


async def test_the_sdk_reads_and_deletes_an_image_as_the_driver_does(
    fake: LinodeFake, driver: LinodeDriver, sdk: Any, disk: DiskFile
):
    spec = ImageSpec(manifest("relight-base-7-amd64"), REGIONS[0], "us")
    begun = await driver.import_image(spec, disk)
    for _ in range(3):
        found = await driver.image(begun)
    assert found is not None
    ours = fake.received[-1]
    shown = linode_api4.Image(sdk, begun.image_id)
    assert (shown.label, shown.is_public, shown.status) == (found.name, False, "available")
    assert sent(fake.received[-1]) == sent(ours)
    assert [(each.region, each.status) for each in shown.regions] == [(REGIONS[0], "available")]
    assert found.created_at is not None
    assert shown.created == found.created_at.replace(tzinfo=None)
    note("linode", "image", Against.ORACLE)
    listed = (await driver.images(REGIONS[0], "relight-base-7")).images
    ours = fake.received[-1]
    assert [each.image_id for each in listed] == [begun.image_id]
    assert begun.image_id in [each.id for each in sdk.images()]
    assert sent(fake.received[-1]) == sent(ours)
    note("linode", "images", Against.ORACLE)

    await driver.delete_image(found)
    ours = fake.received[-1]
    again = await driver.import_image(spec, disk)
    assert linode_api4.Image(sdk, again.image_id).delete()
    theirs = fake.received[-1]
    assert (ours.method, theirs.method) == ("DELETE", "DELETE")
    assert theirs.path == ours.path.replace(begun.image_id, again.image_id)
    note("linode", "delete_image", Against.ORACLE)


async def test_the_sdk_reads_the_image_of_a_machine_as_the_driver_does(
    fake: LinodeFake, driver: LinodeDriver, sdk: Any
):
    created = await driver.ensure(KEY, SPEC)
    [shown] = sdk.linode.instances()
    assert shown.image.id == await driver.image_of(created.provider_id)
    note("linode", "image_of", Against.ORACLE)
