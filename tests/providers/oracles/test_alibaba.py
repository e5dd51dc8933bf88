"""Alibaba Cloud's own SDK against our fake, and against what our driver sends."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretBytes, SecretStr

from devkit.exercised import Against
from relight.domain.image.image import ImageAtProvider, ImageRef, StagedDisk
from relight.domain.machine import MachineStatus
from relight.providers.alibaba.driver import AlibabaDriver
from relight.providers.alibaba.signature import Acs3Auth, signature
from relight.providers.driver import MachineSpec
from relight.providers.image_driver import ImageSpec
from tests.providers.fakes.alibaba import AlibabaFake
from tests.providers.fakes.alibaba_parts import KEY_ID, KEY_SECRET, Refused
from tests.providers.fakes.base import Received, Trap
from tests.support.exercised import note
from tests.support.image_clouds import manifest

ecs = pytest.importorskip("alibabacloud_ecs20140526.client")
models = pytest.importorskip("alibabacloud_ecs20140526.models")
openapi = pytest.importorskip("alibabacloud_tea_openapi.utils_models")
utils = pytest.importorskip("alibabacloud_tea_openapi.utils")
exceptions = pytest.importorskip("alibabacloud_tea_openapi.exceptions")

KEY = "r-1-g1"
SPEC = MachineSpec(
    region="cn-hangzhou",
    user_data=SecretBytes("#cloud-config\n# +/= ~ é\n".encode()),
    owner="us",
    generation=1,
    created_by="run 1*~",
)
AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[AlibabaFake]:
    fake = AlibabaFake()
    monkeypatch.setattr(fake, "now", lambda: AT)
    with fake.served():
        yield fake


@pytest.fixture
def sdk(fake, monkeypatch) -> Any:
    """The SDK at a fixed time; each of its requests has another nonce."""
    nonces = iter(range(1000))
    monkeypatch.setattr(utils.Utils, "get_nonce", lambda: f"nonce-{next(nonces)}")
    stamp = AT.strftime("%Y-%m-%dT%H:%M:%SZ")
    monkeypatch.setattr(utils.Utils, "get_timestamp", lambda: stamp)
    return ecs.Client(
        openapi.Config(
            access_key_id=KEY_ID,
            access_key_secret=KEY_SECRET.get_secret_value(),
            endpoint=fake.url.removeprefix("http://"),
            protocol="http",
            region_id="cn-hangzhou",
        )
    )


@pytest.fixture
async def driver(fake, tmp_path):
    """Our driver at the same time; its nonces are its own."""
    nonces = iter(range(1000))
    auth = Acs3Auth(KEY_ID, KEY_SECRET, now=lambda: AT, nonce=lambda: f"ours-{next(nonces)}")
    driver = AlibabaDriver(fake.settings(tmp_path), auth=auth)
    yield driver
    await driver.close()


def sent(fake: AlibabaFake, action: str) -> list[Received]:
    return [each for each in fake.received if each.headers["x-acs-action"] == action]


def query(request: Received) -> dict[str, str]:
    """The parameters. Python's SDK writes `True`, where the documents have `true`."""
    found = dict(httpx.URL(request.path).params)
    return {name: {"True": "true"}.get(value, value) for name, value in found.items()}


def signed(request: Received) -> tuple[str, set[str], str]:
    """The key's id, the signed headers and the signature."""
    found = re.fullmatch(
        r"ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})",
        request.headers["authorization"],
    )
    assert found
    return found[1], set(found[2].split(";")), found[3]


def run(token: str) -> Any:
    tags = {
        "relight-owner": "us",
        "relight-key": KEY,
        "relight-generation": "1",
        "relight-created-by": "run 1*~",
    }
    return models.RunInstancesRequest(
        region_id="cn-hangzhou",
        instance_name=KEY,
        amount=1,
        client_token=token,
        image_id="m-hangzhou",
        instance_type="ecs.e-c1m1.large",
        v_switch_id="vsw-hangzhou-g",
        security_group_id="sg-1",
        instance_charge_type="PostPaid",
        internet_charge_type="PayByTraffic",
        internet_max_bandwidth_out=100,
        system_disk=models.RunInstancesRequestSystemDisk(category="cloud_essd"),
        user_data=base64.b64encode(SPEC.user_data.get_secret_value()).decode(),
        tag=[models.RunInstancesRequestTag(key=key, value=value) for key, value in tags.items()],
    )


def check() -> Any:
    """The dry run of a report."""
    request = run("")
    request.client_token, request.dry_run = None, True
    request.instance_name = "relight-check"
    request.user_data = base64.b64encode(b"#cloud-config\n").decode()
    tags = {"relight-owner": "relight", "relight-key": "relight-check", "relight-generation": "1"}
    request.tag = [models.RunInstancesRequestTag(key=key, value=tags[key]) for key in tags]
    return request


async def test_our_requests_are_those_of_the_sdk(fake, sdk, driver):
    machine = await driver.ensure(KEY, SPEC)
    await driver.find(KEY)
    await driver.list("cn-hangzhou")
    await driver.console(machine.ref)
    await driver.destroy(machine.ref)
    await driver._regions["cn-hangzhou"].exists("look", "i-00000001")
    await driver._regions["eu-central-1"].newest_image()
    await driver._regions["eu-central-1"].limits("look")
    await driver.report()
    ours = list(fake.received)
    fake.received.clear()
    fake.traps.add(Trap.STALE_LISTING)

    tag = models.DescribeInstancesRequestTag(key="relight-key", value=KEY)
    in_hangzhou: dict[str, Any] = {"region_id": "cn-hangzhou", "max_results": 100}
    token = query(ours[1])["ClientToken"]
    calls: list[Callable[[], Any]] = [
        lambda: sdk.run_instances(run(token)),
        lambda: sdk.describe_instances(models.DescribeInstancesRequest(tag=[tag], **in_hangzhou)),
        lambda: sdk.describe_instances(
            models.DescribeInstancesRequest(instance_ids='["i-00000001"]', **in_hangzhou)
        ),
        lambda: sdk.describe_instances(models.DescribeInstancesRequest(**in_hangzhou)),
        lambda: sdk.get_instance_console_output(
            models.GetInstanceConsoleOutputRequest(
                region_id="cn-hangzhou", instance_id="i-00000001"
            )
        ),
        lambda: sdk.delete_instance(
            models.DeleteInstanceRequest(instance_id="i-00000001", force=True)
        ),
        lambda: sdk.delete_instance(
            models.DeleteInstanceRequest(instance_id="i-00000001", force=True, dry_run=True)
        ),
        lambda: sdk.describe_images(
            models.DescribeImagesRequest(
                region_id="eu-central-1",
                architecture="arm64",
                image_name="relight-base-*",
                status="Available",
                page_size=100,
                page_number=1,
            )
        ),
        lambda: sdk.run_instances(check()),
        lambda: sdk.describe_account_attributes(
            models.DescribeAccountAttributesRequest(
                region_id="eu-central-1",
                attribute_name=[
                    "max-postpaid-instance-vcpu-count",
                    "used-postpaid-instance-vcpu-count",
                ],
            )
        ),
    ]
    for call in calls:
        try:
            call()
        except exceptions.ClientException as refused:
            # What it sends counts here: it may be sent too early, or for what is gone.
            assert refused.code in {  # noqa: PT017 - not every call is refused
                "InvalidInstanceId.NotFound",
                "IncorrectInstanceStatus",
                "DryRunOperation",
            }
    theirs = fake.received
    assert len(theirs) == len(calls)
    for theirs_once in theirs:
        action, params = theirs_once.headers["x-acs-action"], query(theirs_once)
        same = [
            each for each in ours if (each.headers["x-acs-action"], query(each)) == (action, params)
        ]
        assert same, f"we do not send {action} {params}"
        request = same[0]
        assert (request.method, request.body) == (theirs_once.method, theirs_once.body)
        assert httpx.URL(request.path).path == httpx.URL(theirs_once.path).path == "/"
        for name in ("x-acs-version", "x-acs-date", "x-acs-content-sha256", "accept", "host"):
            assert request.headers[name] == theirs_once.headers[name], name
        assert request.headers.get("content-type") == theirs_once.headers.get("content-type")
    for name in ("ensure", "find", "get", "list", "destroy", "console", "report"):
        note("alibaba", name, Against.ORACLE)


def test_our_signature_of_their_request_is_theirs(fake, sdk):
    sdk.run_instances(run("token"))
    [request] = fake.received
    key_id, names, theirs = signed(request)
    assert key_id == KEY_ID
    headers = {name: request.headers[name] for name in names}
    parameters = httpx.URL(request.path).params.multi_items()
    assert signature(KEY_SECRET, "POST", "/", parameters, headers) == theirs
    assert signature(SecretStr("another"), "POST", "/", parameters, headers) != theirs


async def test_their_signature_of_our_request_is_ours(fake, driver):
    await driver.ensure(KEY, SPEC)
    for request in fake.received:
        key_id, names, ours = signed(request)
        theirs = utils.Utils.get_authorization(
            _Request(request, names),
            "ACS3-HMAC-SHA256",
            hashlib.sha256(request.body).hexdigest(),
            key_id,
            KEY_SECRET.get_secret_value(),
        )
        assert theirs == request.headers["authorization"]
        assert theirs.endswith(ours)


class _Request:
    """A request as the SDK has it before it signs it."""

    def __init__(self, request: Received, names: set[str]) -> None:
        self.method = request.method
        self.pathname = "/"
        self.query = dict(httpx.URL(request.path).params)
        self.headers = {name: request.headers[name] for name in names}


def test_the_sdk_understands_the_fake(fake, sdk):
    created = sdk.run_instances(run("token")).body
    assert created.instance_id_sets.instance_id_set == ["i-00000001"]
    request = models.DescribeInstancesRequest(region_id="cn-hangzhou", max_results=100)
    for status in ("Pending", "Running"):
        [instance] = sdk.describe_instances(request).body.instances.instance
        assert instance.status == status
    assert (instance.instance_id, instance.instance_name) == ("i-00000001", KEY)
    assert (instance.region_id, instance.zone_id) == ("cn-hangzhou", "cn-hangzhou-g")
    assert instance.public_ip_address.ip_address == ["198.18.0.1"]
    assert instance.vpc_attributes.private_ip_address.ip_address == ["172.16.0.7"]
    assert instance.eip_address.ip_address == ""
    assert {tag.tag_key: tag.tag_value for tag in instance.tags.tag} == {
        "relight-owner": "us",
        "relight-key": KEY,
        "relight-generation": "1",
        "relight-created-by": "run 1*~",
    }
    console = sdk.get_instance_console_output(
        models.GetInstanceConsoleOutputRequest(
            region_id="cn-hangzhou", instance_id="i-00000001", remove_symbols=False
        )
    ).body
    assert base64.b64decode(console.console_output).decode() == f"{KEY} login: "
    images = sdk.describe_images(models.DescribeImagesRequest(region_id="eu-central-1")).body
    assert [each.image_id for each in images.images.image] == ["m-old", "m-new"]
    assert images.total_count == 2
    attributes = models.DescribeAccountAttributesRequest(
        region_id="cn-hangzhou", attribute_name=["max-postpaid-instance-vcpu-count"]
    )
    [attribute] = sdk.describe_account_attributes(
        attributes
    ).body.account_attribute_items.account_attribute_item
    assert attribute.attribute_values.value_item[0].value == "100"
    deletion = models.DeleteInstanceRequest(instance_id="i-00000001", force=True)
    assert sdk.delete_instance(deletion).body.request_id
    assert fake.bill.running() == []


async def test_what_the_sdk_creates_is_found_by_the_driver(fake, sdk, driver):
    sdk.run_instances(run("token"))
    found = await driver.ensure(KEY, SPEC)
    assert (found.provider_id, found.created_by) == ("cn-hangzhou:i-00000001", "run 1*~")
    assert found.status is MachineStatus.PROVISIONING


def test_the_sdk_understands_refusals_and_pages(fake, sdk):
    for number in range(3):
        request = run(f"token-{number}")
        sdk.run_instances(request)
    fake.traps.add(Trap.TRUNCATED_PAGE)
    describe = models.DescribeInstancesRequest(region_id="cn-hangzhou", max_results=100)
    first = sdk.describe_instances(describe).body
    assert len(first.instances.instance) == 1
    describe.next_token = first.next_token
    second = sdk.describe_instances(describe).body
    assert (len(second.instances.instance), second.next_token) == (2, "")

    fake.refuse("DeleteInstance", Refused(403, "IncorrectInstanceStatus.Initializing", "Wait."))
    deletion = models.DeleteInstanceRequest(instance_id="i-00000001", force=True)
    with pytest.raises(exceptions.ClientException) as refused:
        sdk.delete_instance(deletion)
    assert refused.value.code == "IncorrectInstanceStatus.Initializing"
    headers = {"x-acs-retry-after": "1500"}
    fake.refuse("DeleteInstance", Refused(400, "Throttling.User", headers=headers))
    with pytest.raises(exceptions.ThrottlingException) as limited:
        sdk.delete_instance(deletion)
    # In milliseconds: the SDK sleeps for it divided by 1,000.
    assert limited.value.retry_after == 1500


# Base images.

MANIFEST = manifest("relight-base-0.0.74-amd64")
TAGS = {
    "relight-owner": "us",
    "relight-identity": MANIFEST.identity,
    "relight-architecture": "amd64",
}


def import_request() -> Any:
    return models.ImportImageRequest(
        region_id="cn-hangzhou",
        image_name=MANIFEST.name,
        architecture="x86_64",
        ostype="linux",
        platform="Debian",
        boot_mode="BIOS",
        features=models.ImportImageRequestFeatures(nvme_support="supported"),
        disk_device_mapping=[
            models.ImportImageRequestDiskDeviceMapping(
                ossbucket="bucket", ossobject="a/disk.qcow2", format="QCOW2", disk_image_size=2
            )
        ],
        tag=[models.ImportImageRequestTag(key=key, value=value) for key, value in TAGS.items()],
    )


def copy_request(image_id: str) -> Any:
    return models.CopyImageRequest(
        region_id="cn-hangzhou",
        image_id=image_id,
        destination_region_id="eu-central-1",
        destination_image_name=MANIFEST.name,
        tag=[models.CopyImageRequestTag(key=key, value=value) for key, value in TAGS.items()],
    )


def images_request(**values: Any) -> Any:
    return models.DescribeImagesRequest(
        region_id="cn-hangzhou",
        image_owner_alias="self",
        status="Waiting,Creating,Available,UnAvailable,CreateFailed,Deprecated",
        page_size=100,
        page_number=1,
        **values,
    )


async def available(driver: AlibabaDriver, ref: ImageRef) -> ImageAtProvider:
    """Each look takes the image one step further."""
    for _ in range(3):
        found = await driver.image(ref)
    assert found is not None
    return found


async def test_our_requests_for_images_are_those_of_the_sdk(fake, sdk, driver):
    spec = ImageSpec(MANIFEST, "cn-hangzhou", "us")
    made = await driver.import_image(spec, StagedDisk("bucket", "a/disk.qcow2", "https://x/"))
    await driver.images("cn-hangzhou")
    made = await available(driver, made)
    copy = await driver.copy_image(spec._replace(region="eu-central-1"), made)
    await driver.delete_image(copy)
    fake.images[-1].is_public = True
    await driver.delete_image(made)
    ours = [each for each in fake.received if "Image" in each.headers["x-acs-action"]]
    fake.received.clear()

    in_frankfurt = {"region_id": "eu-central-1", "image_id": copy.image_id}
    private = models.ModifyImageSharePermissionRequest(
        region_id="cn-hangzhou", image_id=made.image_id, is_public=False
    )
    calls: list[Callable[[], Any]] = [
        lambda: sdk.import_image(import_request()),
        lambda: sdk.describe_images(images_request()),
        lambda: sdk.describe_images(images_request(image_name=f"{MANIFEST.name}*")),
        lambda: sdk.describe_images(images_request(image_id=made.image_id)),
        lambda: sdk.copy_image(copy_request(made.image_id)),
        lambda: sdk.delete_image(models.DeleteImageRequest(**in_frankfurt)),
        lambda: sdk.cancel_copy_image(models.CancelCopyImageRequest(**in_frankfurt)),
        lambda: sdk.modify_image_share_permission(private),
    ]
    for call in calls:
        try:
            call()
        except exceptions.ClientException as refused:
            # What it sends counts here: the image is gone.
            assert refused.code == "InvalidImageId.NotFound"  # noqa: PT017
    theirs = fake.received
    assert len(theirs) == len(calls)
    for request in theirs:
        action, params = request.headers["x-acs-action"], spelled(request)
        assert (action, params) in [(each.headers["x-acs-action"], spelled(each)) for each in ours]
    for name in ("import_image", "copy_image", "images", "image", "delete_image"):
        note("alibaba", name, Against.ORACLE)


def spelled(request: Received) -> dict[str, str]:
    """The parameters, with the spelling of the documents."""
    return {name: {"False": "false"}.get(text, text) for name, text in query(request).items()}


async def test_the_sdk_understands_images_of_the_fake(fake, sdk, driver):
    imported = sdk.import_image(import_request()).body
    assert imported.image_id.startswith("m-cn-hangzhou-")
    assert imported.task_id
    for status in ("Waiting", "Creating", "Available"):
        images = sdk.describe_images(images_request(image_id=imported.image_id)).body
        [image] = images.images.image
        assert (image.status, image.is_public, image.image_name) == (status, False, MANIFEST.name)
    assert {tag.tag_key: tag.tag_value for tag in image.tags.tag} == TAGS
    assert (images.total_count, images.page_number) == (1, 1)
    copied = sdk.copy_image(copy_request(imported.image_id)).body
    found = await driver.images("eu-central-1", MANIFEST.name)
    assert [each.image_id for each in found.images] == [copied.image_id]
    assert found.images[0].owner == "us"


async def test_the_image_of_an_instance_is_read_as_by_the_sdk(fake, sdk, driver):
    machine = await driver.ensure(KEY, SPEC)
    fake.received.clear()
    assert await driver.image_of(machine.provider_id) == "m-hangzhou"
    [ours] = fake.received
    request = models.DescribeInstancesRequest(
        region_id="cn-hangzhou", instance_ids='["i-00000001"]'
    )
    [instance] = sdk.describe_instances(request).body.instances.instance
    assert instance.image_id == "m-hangzhou"
    assert query(ours) == query(fake.received[-1])
    note("alibaba", "image_of", Against.ORACLE)
