"""openstacksdk as the oracle: it reads what the fake answers, and sends what the driver sends."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from pydantic import SecretBytes

from devkit.exercised import Against
from devkit.simulated.parts import OWNER
from relight.domain.machine import MachineAtProvider, MachineStatus
from relight.providers.driver import MachineSpec
from relight.providers.image_driver import DiskFile, ImageSpec
from relight.providers.openstack.api import MICROVERSION
from relight.providers.openstack.cloud import read_cloud
from relight.providers.openstack.driver import OpenStackDriver
from starter.local.children import wait_until
from tests.providers.fakes.base import Received
from tests.providers.fakes.openstack import PASSWORD, OpenStackFake
from tests.providers.fakes.openstack_answers import FLAVORS, NETWORKS, PROJECT
from tests.support.exercised import note
from tests.support.image_disks import write_disk

openstack = pytest.importorskip("openstack")
# The SDK warns of what it uses itself.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

KEY = "r-1-g1"
COMPARED_HEADERS = ("x-auth-token", "openstack-api-version", "content-type")


@pytest.fixture
def fake() -> Iterator[OpenStackFake]:
    fake = OpenStackFake()
    with fake.served():
        yield fake


@pytest.fixture
def sdk(fake: OpenStackFake, tmp_path: Path) -> Iterator[Any]:
    """A connection of the SDK, which reads the same two files as the driver."""
    fake.settings(tmp_path)
    config = openstack.config.OpenStackConfig(
        config_files=[str(tmp_path / "clouds.yaml")],
        secure_files=[str(tmp_path / "secure.yaml")],
        load_envvars=False,
    )
    region = config.get_one("test", region_name="north", compute_default_microversion=MICROVERSION)
    connection = openstack.connection.Connection(config=region)
    yield connection
    connection.close()


def spec() -> MachineSpec:
    return MachineSpec(
        region="north",
        user_data=SecretBytes(b"#cloud-config\n{}\n"),
        owner=OWNER,
        generation=1,
        created_by="run-1",
    )


def last(fake: OpenStackFake, method: str, path: str, at: int = -1) -> Received:
    """The last request of a path, or another one, whatever its query."""
    found = [
        each
        for each in fake.received
        if each.method == method and each.path.partition("?")[0].endswith(path)
    ]
    assert found, [f"{each.method} {each.path}" for each in fake.received]
    return found[at]


def compared(request: Received) -> dict[str, Any]:
    headers = {name: request.headers.get(name) for name in COMPARED_HEADERS}
    # Of each request its own token; what counts is that there is one.
    headers["x-auth-token"] = str(headers["x-auth-token"] is not None)
    body = json.loads(request.body) if request.body else None
    if body is None:
        del headers["content-type"]
    path, _, query = request.path.partition("?")
    parts = sorted(parse_qsl(query, strict_parsing=bool(query)))
    return {
        "method": request.method,
        "path": path,
        "query": parts,
        "headers": headers,
        "body": body,
    }


async def created(fake: OpenStackFake, folder: Path, **location: Any) -> MachineAtProvider:
    driver = driver_over(fake, folder, **location)
    machine = await driver.ensure(KEY, spec())
    await driver.close()
    return machine


def driver_over(fake: OpenStackFake, folder: Path, **location: Any) -> OpenStackDriver:
    settings = fake.settings(folder, **location)
    north = settings.locations["north"]
    return OpenStackDriver(settings.model_copy(update={"locations": {"north": north}}))


async def test_the_login_is_that_of_the_sdk(fake: OpenStackFake, sdk: Any, tmp_path: Path):
    await created(fake, tmp_path)
    ours = last(fake, "POST", "/auth/tokens")
    fake.received.clear()
    assert sdk.authorize() == "token-2"
    theirs = last(fake, "POST", "/auth/tokens")
    assert json.loads(ours.body) == json.loads(theirs.body)
    assert ours.path == theirs.path


def test_a_login_by_application_credential_is_that_of_the_sdk(fake: OpenStackFake, tmp_path: Path):
    auth = {"auth_url": f"{fake.url}/identity/v3", "application_credential_id": "c-1"}
    entry = {"auth_type": "v3applicationcredential", "region_name": "north", "auth": auth}
    secret = {"auth": {"application_credential_secret": PASSWORD}}
    files = {"clouds.yaml": entry, "secure.yaml": secret}
    for name, content in files.items():
        (tmp_path / name).write_text(yaml.safe_dump({"clouds": {"test": content}}))
    config = openstack.config.OpenStackConfig(
        config_files=[str(tmp_path / "clouds.yaml")],
        secure_files=[str(tmp_path / "secure.yaml")],
        load_envvars=False,
    )
    connection = openstack.connection.Connection(config=config.get_one("test"))
    assert connection.authorize() == "token-1"
    theirs = json.loads(last(fake, "POST", "/auth/tokens").body)
    connection.close()
    assert read_cloud(tmp_path / "clouds.yaml", "test", tmp_path / "secure.yaml").login == theirs


@pytest.mark.parametrize("boots_from_volume", [False, True])
async def test_a_creation_is_that_of_the_sdk(
    fake: OpenStackFake, sdk: Any, tmp_path: Path, boots_from_volume: bool
):
    extra: dict[str, Any] = {"security_groups": ("web",), "config_drive": True}
    disk = {"disk_gib": 20} if boots_from_volume else {}
    if boots_from_volume:
        extra["volume_type"] = "ssd"
    await created(fake, tmp_path, zones=("az-1",), extra=extra, **disk)
    ours = compared(last(fake, "POST", "/servers"))
    image_id = fake.images[0]["id"]
    volume = {
        "boot_index": 0,
        "source_type": "image",
        "uuid": image_id,
        "destination_type": "volume",
        "volume_size": 20,
        "volume_type": "ssd",
        "delete_on_termination": True,
    }
    root = {"block_device_mapping": [volume]} if boots_from_volume else {"image_id": image_id}
    sdk.compute.create_server(
        name=KEY,
        flavor_id=FLAVORS["m1.small"],
        networks=[{"uuid": NETWORKS["private"]}],
        metadata={
            "relight-owner": OWNER,
            "relight-key": KEY,
            "relight-generation": "1",
            "relight-created-by": "run-1",
        },
        tags=["relight"],
        user_data="I2Nsb3VkLWNvbmZpZwp7fQo=",
        availability_zone="az-1",
        security_groups=[{"name": "web"}],
        config_drive=True,
        **root,
    )
    assert ours == compared(last(fake, "POST", "/servers"))
    note("openstack", "ensure", Against.ORACLE)


async def test_deletion_and_console_are_those_of_the_sdk(
    fake: OpenStackFake, sdk: Any, tmp_path: Path
):
    machine = await created(fake, tmp_path)
    number = machine.provider_id
    driver = driver_over(fake, tmp_path)

    async def runs() -> bool:
        found = await driver.get(number)
        return found is not None and found.status is MachineStatus.RUNNING

    await wait_until(runs, timedelta(seconds=10))
    assert await driver.console(machine.ref) == "r-1-g1 login: "
    ours = compared(last(fake, "POST", "/action"))
    assert sdk.compute.get_server_console_output(number, length=1000) == {
        "output": "r-1-g1 login: "
    }
    assert ours == compared(last(fake, "POST", "/action"))

    fake.soft_delete = True
    assert await driver.destroy(machine.ref)
    ours = compared(last(fake, "DELETE", f"/servers/{number}"))
    sdk.compute.delete_server(number)
    assert ours == compared(last(fake, "DELETE", f"/servers/{number}"))

    assert await driver.destroy(machine.ref)
    ours = compared(last(fake, "POST", "/action"))
    sdk.compute.delete_server(number, force=True)
    assert ours == compared(last(fake, "POST", "/action"))
    note("openstack", "destroy", Against.ORACLE)
    note("openstack", "console", Against.ORACLE)
    await driver.close()


async def test_listings_are_those_of_the_sdk(fake: OpenStackFake, sdk: Any, tmp_path: Path):
    machine = await created(fake, tmp_path)
    driver = driver_over(fake, tmp_path)
    fake.received.clear()
    await driver.list()
    ours = [compared(each) for each in fake.received if "/servers/" in each.path]
    fake.received.clear()
    [server] = list(sdk.compute.servers())
    list(sdk.compute.servers(status="SOFT_DELETED", changes_since="1970-01-01T00:00:00Z"))
    theirs = [compared(each) for each in fake.received if "/servers/" in each.path]
    assert ours == theirs

    fake.received.clear()
    await driver.find("r-2-g1")
    ours = [compared(each) for each in fake.received]
    fake.received.clear()
    query = {"name": "^r-2-g1$", "status": "SOFT_DELETED"}
    list(sdk.compute.servers(name="^r-2-g1$"))
    list(sdk.compute.servers(**query, changes_since="1970-01-01T00:00:00Z"))
    list(sdk.compute.servers(details=False))
    assert ours == [compared(each) for each in fake.received]
    await driver.close()

    assert (server.id, server.name) == (machine.provider_id, KEY)
    assert server.metadata["relight-owner"] == OWNER
    assert server.tags == ["relight"]
    assert server.addresses["private"][0]["addr"] == "192.0.2.10"
    note("openstack", "list", Against.ORACLE)
    note("openstack", "find", Against.ORACLE)


async def test_the_sdk_reads_a_fault_and_a_part_of_the_cloud_that_is_down(
    fake: OpenStackFake, sdk: Any, tmp_path: Path
):
    machine = await created(fake, tmp_path)
    server = fake.servers[machine.provider_id]
    server.fails_with = "No valid host was found."
    driver = driver_over(fake, tmp_path)
    await driver.get(machine.provider_id)
    await driver.close()
    ours = compared(last(fake, "GET", f"/servers/{machine.provider_id}"))
    read = sdk.compute.get_server(machine.provider_id)
    assert ours == compared(last(fake, "GET", f"/servers/{machine.provider_id}"))
    assert (read.status, read.fault["message"]) == ("ERROR", "No valid host was found.")
    note("openstack", "get", Against.ORACLE)
    server.is_hidden = True
    [hidden] = list(sdk.compute.servers())
    assert (hidden.status, hidden.name) == ("UNKNOWN", None)


async def test_images_flavors_and_networks_are_those_of_the_sdk(
    fake: OpenStackFake, sdk: Any, tmp_path: Path
):
    await created(fake, tmp_path)
    ours = {path: last(fake, "GET", path) for path in ("/images", "/flavors", "/networks")}
    fake.received.clear()
    assert len(list(sdk.image.images(status="active", limit=500))) == 2
    assert {each.name for each in sdk.compute.flavors(details=False)} == set(FLAVORS)
    [network] = list(sdk.network.networks(name="private"))
    assert network.id == NETWORKS["private"]
    for path, request in ours.items():
        # The SDK asks for another page, whose absence the first one told.
        assert compared(request) == compared(last(fake, "GET", path, at=0))


async def test_a_floating_address_is_that_of_the_sdk(fake: OpenStackFake, sdk: Any, tmp_path: Path):
    machine = await created(fake, tmp_path, extra={"floating_network": "public"})
    ours = [compared(last(fake, "GET", "/ports")), compared(last(fake, "POST", "/floatingips"))]
    [address] = list(sdk.network.ips(description=f"relight-machine={machine.provider_id}"))
    assert address.floating_ip_address == "203.0.113.1"
    sdk.network.delete_ip(address)
    [port] = list(sdk.network.ports(device_id=machine.provider_id))
    sdk.network.create_ip(
        floating_network_id=NETWORKS["public"],
        port_id=port.id,
        description=f"relight-machine={machine.provider_id}",
    )
    theirs = [compared(last(fake, "GET", "/ports")), compared(last(fake, "POST", "/floatingips"))]
    assert ours == theirs


def image_spec(tmp_path: Path) -> tuple[ImageSpec, DiskFile]:
    manifest, path = write_disk(tmp_path)
    return ImageSpec(manifest, "north", OWNER), DiskFile(path, lambda _: None)


async def test_an_image_is_created_and_sent_as_by_the_sdk(
    fake: OpenStackFake, sdk: Any, tmp_path: Path
):
    driver = driver_over(fake, tmp_path)
    spec, disk = image_spec(tmp_path)
    made = await driver.import_image(spec, disk)
    ours = compared(last(fake, "POST", "/images"))
    sent = last(fake, "PUT", "/file")
    assert await driver.delete_image(made)
    await driver.close()

    fake.glance.stored.clear()
    theirs = openstack.image.v2.image.Image.new(
        id=made.image_id,
        name=spec.manifest.name,
        disk_format="qcow2",
        container_format="bare",
        visibility="private",
        min_disk=8,
        architecture="x86_64",
        **{
            "relight-owner": OWNER,
            "relight-identity": spec.manifest.identity,
            "relight-architecture": "amd64",
            "relight-disk-bytes": str(disk.path.stat().st_size),
        },
    )
    theirs.create(sdk.image)
    assert ours == compared(last(fake, "POST", "/images"))
    theirs.upload(sdk.image, data=disk.path.read_bytes())
    their_data = last(fake, "PUT", "/file")
    assert (sent.path, sent.body) == (their_data.path, their_data.body)
    for name in ("content-type", "content-length"):
        assert sent.headers[name] == their_data.headers[name]
    note("openstack", "import_image", Against.ORACLE)


async def test_images_of_the_project_are_listed_read_and_deleted_as_by_the_sdk(
    fake: OpenStackFake, sdk: Any, tmp_path: Path
):
    driver = driver_over(fake, tmp_path)
    spec, disk = image_spec(tmp_path)
    made = await driver.import_image(spec, disk)
    fake.received.clear()
    await driver.images("north")
    ours = compared(last(fake, "GET", "/images", at=0))
    fake.received.clear()
    [listed] = list(sdk.image.images(owner=PROJECT, limit=500))
    assert ours == compared(last(fake, "GET", "/images", at=0))
    note("openstack", "images", Against.ORACLE)

    await driver.image(made)
    ours = compared(last(fake, "GET", made.image_id))
    read = sdk.image.get_image(made.image_id)
    assert ours == compared(last(fake, "GET", made.image_id))
    note("openstack", "image", Against.ORACLE)
    for found in (listed, read):
        assert (found.id, found.name, found.status) == (made.image_id, made.name, "active")
        assert (found.visibility, found.architecture, found.owner) == ("private", "x86_64", PROJECT)
        assert found.properties["relight-owner"] == OWNER

    assert await driver.delete_image(made)
    ours = compared(last(fake, "DELETE", made.image_id))
    fake.glance.stored[made.image_id].status = "active"
    sdk.image.delete_image(made.image_id)
    assert ours == compared(last(fake, "DELETE", made.image_id))
    note("openstack", "delete_image", Against.ORACLE)
    await driver.close()


async def test_the_image_of_a_machine_is_what_the_sdk_reads(
    fake: OpenStackFake, sdk: Any, tmp_path: Path
):
    machine = await created(fake, tmp_path)
    driver = driver_over(fake, tmp_path)
    found = await driver.image_of(machine.provider_id)
    await driver.close()
    ours = compared(last(fake, "GET", f"/servers/{machine.provider_id}"))
    assert sdk.compute.get_server(machine.provider_id).image.id == found == fake.images[0]["id"]
    assert ours == compared(last(fake, "GET", f"/servers/{machine.provider_id}"))
    note("openstack", "image_of", Against.ORACLE)
