"""The driver and the fake of Linode, held to Linode's own OpenAPI document by Prism."""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretBytes

from devkit.exercised import Against
from relight.domain.image.image import ImageStatus
from relight.domain.machine import MachineStatus
from relight.providers.driver import MachineSpec, ProviderDriver, ProviderUnavailableError
from relight.providers.image_driver import DiskFile, ImageDriver, ImageSpec
from relight.providers.linode.driver import LinodeDriver
from relight.providers.rate import RateLimits
from starter.local.children import wait_until
from tests.providers.fakes.linode import TOKEN, LinodeFake
from tests.providers.fakes.linode_images import REGIONS
from tests.support.exercised import noting
from tests.support.image_clouds import manifest, write_qcow2
from tests.support.prism import (
    READY_SECONDS,
    Document,
    answers,
    only,
    prism_proxy,
    vendors_document,
)

pytestmark = pytest.mark.prism

DEADLINE = timedelta(seconds=60)
KEY = "r-1-g1"
SPEC = MachineSpec(
    region=REGIONS[0],
    user_data=SecretBytes(b"#cloud-config\n{}\n"),
    owner="us",
    generation=1,
    created_by="8a1b4c62-0000-4000-8000-000000000000",
)
INSTANCES = "/linode/instances"
PATHS = {
    INSTANCES: ("get", "post"),
    f"{INSTANCES}/{{linodeId}}": ("get", "delete"),
    "/images": ("get",),
    "/images/upload": ("post",),
    "/images/{imageId}": ("get",),
    "/regions/{regionId}": ("get",),
    "/linode/types/{typeId}": ("get",),
    "/profile": ("get",),
}


def without_format(part: Any, name: str) -> None:
    """Remove a format wherever it stands."""
    for value in part.values() if isinstance(part, dict) else part:
        if isinstance(value, dict | list):
            without_format(value, name)
    if isinstance(part, dict) and part.get("format") == name:
        del part["format"]


def mended(document: Document) -> Document:
    """Return Linode's document without its known flaws.

    Its pattern of labels matches none (a dot in it is not escaped); its times have a zone, and
    Linode's have none; its ids of hosts are no UUIDs, as its own example shows; `eol` of a private
    image is not null in it, though its text says so; it is older than the metadata service, than
    tags of images and than images in several regions; and it says nothing of fields that it does
    not know, so a misspelt one would pass.
    """
    without_format(document, "date-time")
    without_format(document, "uuid")
    schemas = document["components"]["schemas"]
    schemas["Linode"]["properties"]["label"]["pattern"] = (
        r"^[a-zA-Z0-9]((?!--|__|\.\.)[a-zA-Z0-9-_.])+$"
    )
    schemas["Image"]["properties"]["eol"]["nullable"] = True
    schemas["Image"]["properties"]["vendor"]["nullable"] = True
    upload = document["paths"]["/images/upload"]["post"]
    upload = upload["requestBody"]["content"]["application/json"]["schema"]
    tags = {"type": "array", "items": {"type": "string", "minLength": 3, "maxLength": 50}}
    upload["properties"] |= {"tags": tags, "cloud_init": {"type": "boolean"}}
    upload["additionalProperties"] = False
    post = document["paths"][INSTANCES]["post"]
    content = post["requestBody"]["content"]["application/json"]
    own = content["schema"]["allOf"][1]
    user_data = {"type": "object", "properties": {"user_data": {"type": "string"}}}
    content["schema"] = {
        "type": "object",
        "required": own.get("required", ["type", "region"]),
        "properties": {
            **schemas["LinodeRequest"]["properties"],
            **own["properties"],
            "metadata": user_data,
        },
        "additionalProperties": False,
    }
    return only(document, PATHS)


@pytest.fixture(scope="module")
def fake() -> Iterator[LinodeFake]:
    fake = LinodeFake()
    with fake.served():
        yield fake


@pytest.fixture(scope="module")
def prism(fake: LinodeFake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def wait(url: str) -> bool:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if answers(url):
                return True
            time.sleep(0.2)
        return False

    document = mended(vendors_document("linode.com"))
    folder = tmp_path_factory.mktemp("prism")
    with prism_proxy(document, f"{fake.url}/v4", folder, wait) as url:
        yield url


@pytest.fixture
async def driver(fake: LinodeFake, prism: str, tmp_path: Path) -> AsyncIterator[ProviderDriver]:
    fake.machines.clear()
    settings = fake.settings(tmp_path, url=prism, timeout="30s")
    driver = LinodeDriver(settings, RateLimits())
    yield noting(driver, Against.PRISM)
    await driver.close()


async def test_a_machine_is_made_read_listed_and_destroyed_as_the_document_says(
    fake: LinodeFake, driver: ProviderDriver
):
    created = await driver.ensure(KEY, SPEC)
    assert (created.key, created.owner, created.generation) == (KEY, "us", 1)

    async def running() -> bool:
        found = await driver.find(KEY)
        assert found is not None
        return found.status is MachineStatus.RUNNING

    await wait_until(running, DEADLINE)
    assert [each.key for each in (await driver.list()).machines] == [KEY]
    assert (await driver.ensure(KEY, SPEC)).provider_id == created.provider_id
    assert (await driver.get(created.provider_id)) is not None
    assert await driver.destroy(created.ref)
    assert fake.machines[int(created.provider_id)].deleted
    await driver.list()
    assert await driver.get(created.provider_id) is None


async def test_the_report_is_read_from_what_the_document_says(driver: Any):
    report = await driver.report()
    assert [each.name for each in report.regions] == ["eu-central", "us-east"]
    assert all(each.problems == () for each in report.regions)


async def test_an_image_is_uploaded_and_listed_as_the_document_says(
    fake: LinodeFake, driver: ProviderDriver, tmp_path: Path
):
    path = tmp_path / "disk.qcow2"
    write_qcow2(path)
    assert isinstance(driver, ImageDriver)
    spec = ImageSpec(manifest("relight-base-7-amd64"), REGIONS[0], "us")
    begun = await driver.import_image(spec, DiskFile(path, lambda sent: None))

    async def available() -> bool:
        listing = await driver.images(REGIONS[0], "relight-base-7")
        [found] = listing.images
        assert found.image_id == begun.image_id
        return found.status is ImageStatus.AVAILABLE

    await wait_until(available, DEADLINE)
    assert fake.images_named("relight-base-7-amd64") == 1


@pytest.mark.parametrize("wrong", [{"label": None}, {"region": None}, {"tag": ["abc"]}])
async def test_a_wrong_request_for_an_upload_does_not_pass(
    fake: LinodeFake, prism: str, wrong: dict[str, Any]
):
    whole = {"label": "relight-base-8-amd64", "region": REGIONS[0], "tags": ["abc"]} | wrong
    sent = {name: value for name, value in whole.items() if value is not None}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=prism, headers=headers, timeout=30) as client:
        answer = await client.post("/images/upload", json=sent)
    assert answer.status_code in {400, 422}
    assert fake.images_named("relight-base-8-amd64") == 0


def body(**changes: Any) -> dict[str, Any]:
    whole = {
        "type": "g6-nanode-1",
        "region": REGIONS[0],
        "label": "r-7-g1",
        "image": "private/100",
        "root_pass": "a long password with 7 words",
        "tags": ["abc"],
        "metadata": {"user_data": ""},
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": None},
        {"region": None},
        {"label": "r--7"},
        {"tags": "abc"},
        {"user_data": "a misspelt field"},
        {"booted": "yes"},
    ],
)
async def test_a_wrong_request_does_not_pass(fake: LinodeFake, prism: str, wrong: dict[str, Any]):
    """Otherwise the tests above would say nothing."""
    before = len(fake.received)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=prism, headers=headers, timeout=30) as client:
        answer = await client.post(INSTANCES, json=body(**wrong))
    assert answer.status_code in {400, 422}
    assert len(fake.received) == before


async def test_a_right_request_passes_and_one_without_a_token_does_not(
    fake: LinodeFake, prism: str
):
    async with httpx.AsyncClient(base_url=prism, timeout=30) as client:
        refused = await client.post(INSTANCES, json=body())
        headers = {"Authorization": f"Bearer {TOKEN}"}
        made = await client.post(INSTANCES, json=body(), headers=headers)
    assert refused.status_code == 401
    assert made.status_code == 200


async def test_an_answer_that_breaks_the_document_does_not_pass(
    fake: LinodeFake, driver: ProviderDriver, monkeypatch: pytest.MonkeyPatch
):
    fake.add(KEY)
    monkeypatch.setattr(type(next(iter(fake.machines.values()))), "status", "no such status")
    with pytest.raises(ProviderUnavailableError):
        await driver.list()
