"""The vendor's own SDK reads what the fake answers, and sends what the driver sends."""

import json
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydantic import SecretBytes

from devkit.exercised import Against
from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageStatus
from relight.providers.driver import MachineSpec
from relight.providers.image_driver import ImageSpec, StagedDisk
from tests.providers.fakes.base import Received
from tests.providers.fakes.gcore import API_KEY, FakeGcore
from tests.providers.fakes.gcore_state import CLIENT, FLAVORS, PROJECT
from tests.support.exercised import note
from tests.support.image_clouds import manifest

gcore = pytest.importorskip("gcore", reason="the extra `oracles` is not installed")

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

KEY = "r-1-g1"
SPEC = MachineSpec(
    region=FakeGcore.region,
    user_data=SecretBytes("#cloud-config\n# é\n".encode()),
    owner=OWNER,
    generation=7,
    created_by="8a1b4c62-0000-4000-8000-000000000000",
)


@pytest.fixture
def fake():
    fake = FakeGcore()
    with fake.served():
        yield fake


@pytest.fixture
async def driver(fake, tmp_path):
    driver = fake.driver(tmp_path)
    yield driver
    await driver.close()


@pytest.fixture
async def sdk(fake):
    """The SDK. It refuses an answer that lacks a field of its types, or has another type in one."""
    async with gcore.AsyncGcore(
        api_key=API_KEY,
        base_url=fake.url,
        cloud_project_id=PROJECT,
        cloud_region_id=76,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client.cloud


def parts(request: Received) -> dict[str, object]:
    """Return what makes up a request, whatever the order of its parameters and fields."""
    url = urlsplit(request.path)
    return {
        "method": request.method,
        "path": url.path,
        "query": sorted(parse_qsl(url.query)),
        "authorization": request.headers.get("authorization"),
        "type": request.headers.get("content-type") if request.body else None,
        "body": json.loads(request.body) if request.body else None,
    }


def sent(fake: FakeGcore) -> list[dict[str, object]]:
    requests = [parts(each) for each in fake.received]
    fake.received.clear()
    return requests


# ---------------------------------------------------------------------- what the fake answers


async def test_the_sdk_reads_a_machine_of_the_driver_and_its_task(driver, sdk, fake):
    machine = await driver.ensure(KEY, SPEC)
    instance_id = machine.provider_id.partition(":")[2]
    [listed] = [each async for each in sdk.instances.list()]
    got = await sdk.instances.get(instance_id)
    assert (listed.id, got.id, got.name) == (instance_id, instance_id, KEY)
    assert (got.status, got.vm_state, got.region_id) == ("ACTIVE", "active", 76)
    assert got.created_at == machine.created_at
    assert {tag.key: tag.value for tag in got.tags if not tag.read_only} == {
        "relight-owner": OWNER,
        "relight-key": KEY,
        "relight-generation": "007",
        "relight-created-by": SPEC.created_by,
    }
    assert [each.addr for each in got.addresses["pub_net"]] == [machine.address]
    assert got.flavor.architecture == "x86_64"
    [volume] = [each async for each in sdk.volumes.list()]
    assert [(each.id, each.delete_on_termination) for each in got.volumes] == [(volume.id, True)]
    [task] = [each async for each in sdk.tasks.list(task_type="create_vm", state=["FINISHED"])]
    assert (await sdk.tasks.get(task.id)) == task
    assert task.created_resources.instances == [instance_id]
    assert task.data["name"] == KEY


async def test_the_sdk_creates_waits_and_deletes_at_the_fake(sdk, fake):
    image = next(each for each in (await sdk.instances.images.list()).results)
    made = await sdk.instances.create_and_poll(
        name=KEY,
        flavor="g2-standard-2-4",
        interfaces=[{"type": "external"}],
        volumes=[{"source": "image", "image_id": image.id, "size": 10, "boot_index": 0}],
        polling_interval_seconds=1,
        polling_timeout_seconds=30,
    )
    assert made.name == KEY
    assert [each.id for each in fake.of(KEY)] == [made.id]
    await sdk.instances.delete_and_poll(
        made.id,
        volumes=made.volumes[0].id,
        polling_interval_seconds=1,
        polling_timeout_seconds=30,
    )
    assert fake.bill.running() == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("401", "AuthenticationError"),
        ("404", "NotFoundError"),
        ("409", "ConflictError"),
        ("400", "BadRequestError"),
    ],
)
async def test_the_sdk_reads_an_error_as_what_it_is(sdk, fake, path, error):
    calls = {
        "401": lambda: sdk.instances.list(extra_headers={"Authorization": "APIKey wrong"}),
        "404": lambda: sdk.instances.get(fake.new_id()),
        "409": lambda: sdk.instances.delete(fake.add(KEY).id),
        "400": lambda: sdk.instances.list(limit=1001),
    }
    if path == "409":
        fake.works = timedelta(hours=1)
        machine = fake.add(KEY)
        await sdk.instances.delete(machine.id)
        calls["409"] = lambda: sdk.instances.delete(machine.id)
    with pytest.raises(getattr(gcore, error)) as refused:
        await calls[path]()
    assert refused.value.status_code == int(path)
    assert set(refused.value.body) >= {"exception_class", "message", "request_id"}


async def test_the_sdk_reads_the_project_its_regions_its_shapes_and_its_quotas(sdk, fake):
    project = await sdk.projects.get(project_id=PROJECT)
    assert (project.name, project.client_id) == ("lantern", CLIENT)
    assert (await sdk.regions.get(region_id=76)).has_kvm
    flavors = (await sdk.instances.flavors.list()).results
    assert {each.flavor_name: each.architecture for each in flavors} == FLAVORS
    quotas = await sdk.quotas.get_by_region(client_id=CLIENT, region_id=76)
    assert (quotas.vm_count_limit, quotas.vm_count_usage) == (10, 0)


# ---------------------------------------------------------------------- what is sent


async def test_the_sdk_sends_the_same_creation(driver, sdk, fake):
    await driver.ensure(KEY, SPEC)
    [ours] = [each for each in sent(fake) if each["method"] == "POST"]
    body = ours["body"]
    assert isinstance(body, dict)
    await sdk.instances.create(**body)
    [theirs] = sent(fake)
    assert ours == theirs
    # The SDK sends any field that it is given in a dictionary: these are those that it knows.
    params = gcore.types.cloud.instance_create_params
    image_volume = params.VolumeCreateInstanceCreateVolumeFromImageSerializer
    assert set(body) <= set(params.InstanceCreateParams.__annotations__)
    assert set(body["volumes"][0]) <= set(image_volume.__annotations__)
    external = params.InterfaceNewInterfaceExternalSerializerPydantic
    assert set(body["interfaces"][0]) <= set(external.__annotations__)
    note("gcore", "ensure", Against.ORACLE)


async def test_the_sdk_sends_the_same_search(driver, sdk, fake):
    """Before a creation: the listing, the tasks, and the images."""
    await driver.ensure(KEY, SPEC)
    listing, tasks, images, *_ = sent(fake)
    await sdk.instances.list(name=KEY, order_by="created.asc", limit=1000, offset=0)
    query = dict(tasks["query"])  # type: ignore[call-overload]
    await sdk.tasks.list(
        project_id=[PROJECT],
        region_id=[76],
        task_type="create_vm",
        from_timestamp=query["from_timestamp"],
        order_by="asc",
        limit=200,
        offset=0,
    )
    await sdk.instances.images.list(name="relight-base-", limit=1000, offset=0)
    assert [listing, tasks, images] == sent(fake)
    note("gcore", "find", Against.ORACLE)


async def test_the_sdk_sends_the_same_reads(driver, sdk, fake):
    machine = await driver.ensure(KEY, SPEC)
    instance_id = machine.provider_id.partition(":")[2]
    fake.received.clear()
    await driver.get(machine.provider_id)
    await driver.list("luxembourg-2")
    ours = sent(fake)
    await sdk.instances.get(instance_id)
    await sdk.instances.list(order_by="created.asc", limit=1000, offset=0)
    assert ours == sent(fake)
    note("gcore", "get", Against.ORACLE)
    note("gcore", "list", Against.ORACLE)


async def test_the_sdk_sends_the_same_deletion(driver, sdk, fake):
    machine = await driver.ensure(KEY, SPEC)
    instance_id = machine.provider_id.partition(":")[2]
    [volume] = fake.volumes
    fake.received.clear()
    await driver.destroy(machine.ref)
    get, volumes, delete, task, *_ = sent(fake)
    again = fake.add(KEY)
    again.id, fake.instances = instance_id, {instance_id: again}
    await sdk.instances.get(instance_id)
    tags = json.dumps({"relight-key": KEY, "relight-owner": OWNER})
    await sdk.volumes.list(tag_key_value=tags, limit=1000, offset=0)
    await sdk.instances.delete(instance_id, volumes=volume)
    await sdk.tasks.get(str(task["path"]).rpartition("/")[2])
    assert [get, volumes, delete, task] == sent(fake)
    note("gcore", "destroy", Against.ORACLE)


async def test_the_sdk_sends_the_same_requests_for_a_report(driver, sdk, fake):
    await driver.report()
    ours = sent(fake)
    await sdk.projects.get(project_id=PROJECT)
    for region, prefix in ((180, "relight-base-"), (76, "relight-base-")):
        await sdk.regions.get(region_id=region)
        await sdk.instances.flavors.list(region_id=region, limit=1000, offset=0)
        await sdk.instances.images.list(region_id=region, name=prefix, limit=1000, offset=0)
        await sdk.quotas.get_by_region(client_id=CLIENT, region_id=region)
    assert ours == sent(fake)
    note("gcore", "report", Against.ORACLE)


# ---------------------------------------------------------------------- base images

IMAGE = ImageSpec(manifest("contract-7-amd64"), FakeGcore.region, OWNER)
DISK = StagedDisk("bucket", "disk.qcow2", "https://bucket.example.com/disk.qcow2?signature=1")


async def test_the_sdk_sends_the_same_import(driver, sdk, fake):
    await driver.import_image(IMAGE, DISK)
    listing, tasks, ours = sent(fake)
    await sdk.instances.images.list(name="contract-7-amd64", limit=1000, offset=0)
    query, body = dict(tasks["query"]), ours["body"]  # type: ignore[call-overload]
    assert isinstance(body, dict)
    await sdk.tasks.list(
        project_id=[PROJECT],
        region_id=[76],
        task_type="download_image",
        from_timestamp=query["from_timestamp"],
        order_by="asc",
        limit=200,
        offset=0,
    )
    await sdk.instances.images.upload(**body)
    assert [listing, tasks, ours] == sent(fake)
    params = gcore.types.cloud.instances.image_upload_params.ImageUploadParams
    assert set(body) <= set(params.__annotations__)
    note("gcore", "import_image", Against.ORACLE)
    note("gcore", "images", Against.ORACLE)


async def test_the_sdk_reads_an_import_and_its_image_as_the_driver_does(driver, sdk, fake):
    begun = await driver.import_image(IMAGE, DISK)
    task_id = begun.image_id.partition(":")[2]
    assert (await sdk.tasks.get(task_id)).state == "RUNNING"
    task = await sdk.tasks.get(task_id)
    assert (task.state, task.task_type) == ("FINISHED", "download_image")
    fake.received.clear()
    found = await driver.image(begun)
    assert found is not None
    ours = sent(fake)
    await sdk.tasks.get(task_id)
    [image_id] = task.created_resources.images
    image = await sdk.instances.images.get(image_id)
    assert ours == sent(fake)
    assert (image.id, image.name, image.status) == (found.image_id, found.name, "active")
    assert found.status is ImageStatus.AVAILABLE
    assert (image.visibility, image.architecture) == ("private", "x86_64")
    assert {tag.key: tag.value for tag in image.tags_v2} == {
        "relight-owner": found.owner,
        "relight-identity": found.identity,
        "relight-architecture": found.architecture,
    }
    assert image.created_at.replace(tzinfo=None) == found.created_at.replace(tzinfo=None)
    note("gcore", "image", Against.ORACLE)


async def test_the_sdk_sends_the_same_deletion_of_an_image(driver, sdk, fake):
    begun = await driver.import_image(IMAGE, DISK)
    for _ in range(2):
        found = await driver.image(begun)
    fake.received.clear()
    await driver.delete_image(found)
    get, delete, task, *_ = sent(fake)
    again = fake.add_foreign_image("contract-7-amd64", FakeGcore.region)
    fake.images[-1].id = found.image_id
    await sdk.instances.images.get(found.image_id)
    await sdk.instances.images.delete(found.image_id)
    await sdk.tasks.get(str(task["path"]).rpartition("/")[2])
    assert [get, delete, task] == sent(fake)
    assert again not in [each.id for each in fake.images]
    note("gcore", "delete_image", Against.ORACLE)


async def test_the_sdk_reads_the_image_of_a_machine_as_the_driver_does(driver, sdk, fake):
    machine = await driver.ensure(KEY, SPEC)
    fake.received.clear()
    image_id = await driver.image_of(machine.provider_id)
    ours = sent(fake)
    instance = await sdk.instances.get(machine.provider_id.partition(":")[2])
    volume = await sdk.volumes.get(instance.volumes[0].id)
    assert ours == sent(fake)
    assert volume.volume_image_metadata["image_id"] == image_id
    note("gcore", "image_of", Against.ORACLE)
