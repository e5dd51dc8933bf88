"""The vendor's own SDK as an oracle: it reads what the fake answers, and sends what we send."""

import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydantic import SecretBytes

from devkit.exercised import Against
from devkit.simulated.images import ImageTrap
from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageAtProvider, StagedDisk
from relight.domain.machine import MachineAtProvider
from relight.providers.driver import MachineSpec
from relight.providers.image_driver import ImageSpec
from relight.providers.oci.answers import STATUSES, State
from relight.providers.oci.driver import OciDriver
from starter.local.children import wait_until
from tests.providers.fakes.base import Received, Trap
from tests.providers.fakes.oci import OciFake
from tests.providers.fakes.oci_account import (
    FINGERPRINT,
    FIXED,
    FLEX,
    FRANKFURT,
    TENANCY,
    USER,
    pem,
)
from tests.providers.fakes.oci_images import NAMESPACE
from tests.support.exercised import note
from tests.support.image_clouds import manifest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what the SDK brings along
    oci = pytest.importorskip(
        "oci", reason="the SDK of Oracle Cloud Infrastructure (548 MB) is not installed"
    )
    oci_core = pytest.importorskip("oci.core")

KEY = "r-1-g1"
SOON = timedelta(seconds=60)


@pytest.fixture
def fake() -> Iterator[OciFake]:
    fake = OciFake()
    with fake.served():
        yield fake


@pytest.fixture
async def driver(fake: OciFake, tmp_path: Path) -> AsyncIterator[OciDriver]:
    driver = fake.driver(tmp_path)
    yield driver
    await driver.close()


def spec() -> MachineSpec:
    return MachineSpec(
        region=FRANKFURT,
        user_data=SecretBytes(b"#cloud-config\n{}\n"),
        owner=OWNER,
        generation=1,
        created_by="run-1",
    )


@pytest.fixture
def sdk(fake: OciFake) -> dict[str, Any]:
    """The SDK's clients, of Compute and of its network, without retries."""
    config = {
        "tenancy": TENANCY,
        "user": USER,
        "fingerprint": FINGERPRINT,
        "key_content": pem().decode(),
        "region": FRANKFURT,
    }
    options = {
        "service_endpoint": f"{fake.url}/{FRANKFURT}",
        "retry_strategy": oci.retry.NoneRetryStrategy(),
        "circuit_breaker_strategy": oci.circuit_breaker.NoCircuitBreakerStrategy(),
    }
    return {
        "compute": oci_core.ComputeClient(config, **options),
        "network": oci_core.VirtualNetworkClient(config, **options),
    }


async def running(driver: OciDriver) -> MachineAtProvider:
    await driver.ensure(KEY, spec())

    async def runs() -> bool:
        found = await driver.find(KEY)
        return found is not None and found.address is not None

    await wait_until(runs, SOON)
    found = await driver.find(KEY)
    assert found is not None
    return found


def last(fake: OciFake, method: str, part: str) -> Received:
    """The last request of a method whose path has a part."""
    return [each for each in fake.received if each.method == method and part in each.path][-1]


def compared(request: Received) -> dict[str, Any]:
    """What has to be the same: the text of a body may differ, as its digest then does."""
    url = urlsplit(request.path)
    signed = request.headers["authorization"].split('headers="')[1].split('"')[0]
    return {
        "method": request.method,
        "path": url.path,
        "query": sorted((name, value.lower()) for name, value in parse_qsl(url.query)),
        "body": json.loads(request.body) if request.body else None,
        "token": request.headers.get("opc-retry-token"),
        "type": request.headers.get("content-type") if request.body else None,
        "signed": signed,
    }


def sdk_signature(fake: OciFake, request: Received) -> str:
    """What the SDK's signer makes of a request that we have sent."""
    requests = pytest.importorskip("oci._vendor.requests")
    signer = oci.signer.Signer(TENANCY, USER, FINGERPRINT, None, private_key_content=pem().decode())
    names = ("date", "content-type", "content-length")
    headers = {name: request.headers[name] for name in names if name in request.headers}
    made = requests.Request(
        request.method, f"{fake.url}{request.path}", headers=headers, data=request.body or None
    ).prepare()
    signature: str = signer(made).headers["authorization"]
    return signature


async def test_every_request_has_the_signature_that_the_sdk_makes_of_it(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    await driver.list()
    await driver.console(machine.ref)
    await driver.destroy(machine.ref)
    assert {each.method for each in fake.received} == {"GET", "POST", "DELETE"}
    for request in fake.received:
        assert request.headers["authorization"] == sdk_signature(fake, request)


def models(details: dict[str, Any]) -> Any:
    """A launch's details as the SDK's models."""
    of = oci_core.models
    return of.LaunchInstanceDetails(
        availability_domain=details["availabilityDomain"],
        fault_domain=details["faultDomain"],
        compartment_id=details["compartmentId"],
        display_name=details["displayName"],
        freeform_tags=details["freeformTags"],
        shape=details["shape"],
        shape_config=of.LaunchInstanceShapeConfigDetails(ocpus=1.0, memory_in_gbs=8.0),
        source_details=of.InstanceSourceViaImageDetails(
            image_id=details["sourceDetails"]["imageId"], boot_volume_size_in_gbs=60
        ),
        create_vnic_details=of.CreateVnicDetails(
            subnet_id=details["createVnicDetails"]["subnetId"],
            assign_public_ip=True,
            nsg_ids=["ocid1.nsg.oc1..a"],
        ),
        metadata=details["metadata"],
        instance_options=of.InstanceOptions(are_legacy_imds_endpoints_disabled=True),
    )


async def test_a_launch_is_what_the_sdk_sends(
    fake: OciFake, sdk: dict[str, Any], tmp_path: Path
) -> None:
    driver = fake.driver(
        tmp_path,
        zones=(f"{fake.zones(FRANKFURT)[0]}/FAULT-DOMAIN-2",),
        disk_gib=60,
        extra={"network_security_groups": ("ocid1.nsg.oc1..a",)},
    )
    machine = await driver.ensure(KEY, spec())
    await driver.close()
    ours = last(fake, "POST", "/instances")
    details = models(json.loads(ours.body))
    token = ours.headers["opc-retry-token"]
    answer = sdk["compute"].launch_instance(details, opc_retry_token=token)
    assert compared(last(fake, "POST", "/instances")) == compared(ours)
    assert answer.data.id == machine.provider_id
    note("oci", "ensure", Against.ORACLE)


def requests_of_sdk(fake: OciFake, sdk: dict[str, Any], machine: MachineAtProvider) -> Any:
    """Each call of the driver but the launch, as the SDK makes it: method, path, call."""
    compute, network = sdk["compute"], sdk["network"]
    vnic = machine.provider_id.replace("instance", "vnic") + ".first"
    history = "ocid1.consolehistory.oc1.eu-frankfurt-1.1"
    capture = oci_core.models.CaptureConsoleHistoryDetails(instance_id=machine.provider_id)
    return [
        ("GET", "/instances?", lambda: compute.list_instances(fake.compartment)),
        (
            "GET",
            "displayName=r-1-g1",
            lambda: compute.list_instances(fake.compartment, display_name=KEY),
        ),
        ("GET", "/instances/", lambda: compute.get_instance(machine.provider_id)),
        (
            "GET",
            "/images?",
            lambda: compute.list_images(fake.compartment, shape=FLEX, lifecycle_state="AVAILABLE"),
        ),
        (
            "GET",
            "/vnicAttachments?",
            lambda: compute.list_vnic_attachments(
                fake.compartment, instance_id=machine.provider_id
            ),
        ),
        (
            "GET",
            "/shapes?",
            lambda: compute.list_shapes(
                fake.compartment, availability_domain=fake.zones(FRANKFURT)[0]
            ),
        ),
        ("GET", "/subnets/", lambda: network.get_subnet(fake.subnet(FRANKFURT))),
        ("GET", "/vnics/", lambda: network.get_vnic(vnic)),
        ("POST", "/instanceConsoleHistories", lambda: compute.capture_console_history(capture)),
        ("GET", f"/{history}", lambda: compute.get_console_history(history)),
        (
            "GET",
            f"/{history}/data",
            lambda: compute.get_console_history_content(history, length=1024 * 1024),
        ),
        ("DELETE", f"/{history}", lambda: compute.delete_console_history(history)),
        (
            "DELETE",
            "/instances/",
            lambda: compute.terminate_instance(
                machine.provider_id,
                preserve_boot_volume=False,
                preserve_data_volumes_created_at_launch=False,
            ),
        ),
    ]


async def test_every_other_call_is_what_the_sdk_sends(
    fake: OciFake, driver: OciDriver, sdk: dict[str, Any]
) -> None:
    machine = await running(driver)
    await driver.get(machine.provider_id)
    await driver.console(machine.ref)
    await driver.list(FRANKFURT)
    await driver.report()
    await driver.destroy(machine.ref)
    seen = len(fake.received)
    for method, part, call in requests_of_sdk(fake, sdk, machine):
        ours = [
            compared(each)
            for each in fake.received[:seen]
            if each.method == method and part in each.path
        ]
        answered(call)
        theirs = compared(fake.received[-1])
        assert theirs in ours, (method, part)
    for call in ("find", "get", "list", "destroy", "console", "report"):
        note("oci", call, Against.ORACLE)


def answered(call: Callable[[], Any]) -> None:
    """Make a call of the SDK; what it asks for may be gone by now."""
    try:
        call()
    except oci.exceptions.ServiceError as error:
        assert error.status in {404, 409}, error  # noqa: PT017


def known_fields(model: Any, shown: dict[str, Any]) -> None:
    """The fake shows no field that the vendor does not have, and the SDK reads each."""
    names = {theirs: ours for ours, theirs in model.attribute_map.items()}
    assert set(shown) <= set(names), set(shown) - set(names)
    for theirs, value in shown.items():
        if value is not None:
            assert getattr(model, names[theirs]) is not None, theirs


async def test_the_sdk_reads_every_answer_of_the_fake(
    fake: OciFake, driver: OciDriver, sdk: dict[str, Any]
) -> None:
    machine = await running(driver)
    compute = sdk["compute"]
    fake.page_size = 1
    await driver.ensure("r-2-g1", spec())
    listed = oci.pagination.list_call_get_all_results(compute.list_instances, fake.compartment).data
    assert [each.display_name for each in listed] == ["r-2-g1", KEY]
    read = listed[1]
    assert (read.id, read.lifecycle_state) == (machine.provider_id, "RUNNING")
    assert read.time_created == machine.created_at
    assert read.freeform_tags["relight-owner"] == machine.owner
    known_fields(read, fake._shown(fake.instances[machine.provider_id]))
    fake.page_size = 100
    attachments = compute.list_vnic_attachments(fake.compartment, instance_id=machine.provider_id)
    vnics = [sdk["network"].get_vnic(each.vnic_id).data for each in attachments.data]
    assert [each.public_ip for each in vnics if each.is_primary] == [machine.address]
    subnet = sdk["network"].get_subnet(fake.subnet(FRANKFURT)).data
    assert (subnet.id, subnet.lifecycle_state) == (fake.subnet(FRANKFURT), "AVAILABLE")
    shapes = compute.list_shapes(fake.compartment, limit=10).data
    assert [each.shape for each in shapes] == [FLEX, FIXED]
    [image] = compute.list_images(fake.compartment, sort_by="TIMECREATED").data
    assert (image.display_name, image.lifecycle_state) == ("relight-base-20260101", "AVAILABLE")


async def test_the_sdk_captures_a_console_as_we_do(
    fake: OciFake, driver: OciDriver, sdk: dict[str, Any]
) -> None:
    machine = await running(driver)
    compute = sdk["compute"]
    details = oci_core.models.CaptureConsoleHistoryDetails(instance_id=machine.provider_id)
    history = compute.capture_console_history(details).data
    states = [compute.get_console_history(history.id).data.lifecycle_state for _ in range(3)]
    assert states == ["REQUESTED", "GETTING-HISTORY", "SUCCEEDED"]
    text = compute.get_console_history_content(history.id, length=1024 * 1024).data
    assert text.decode() == await driver.console(machine.ref)
    compute.delete_console_history(history.id)
    assert fake.histories == {}


async def test_the_sdk_reads_the_fakes_refusals(
    fake: OciFake, driver: OciDriver, sdk: dict[str, Any]
) -> None:
    await driver.ensure(KEY, spec())
    details = models({**json.loads(last(fake, "POST", "/instances").body), "faultDomain": None})
    compute = sdk["compute"]
    for trap, status, code, message in (
        (Trap.CAPACITY, 500, "InternalError", "Out of host capacity."),
        (Trap.QUOTA, 400, "LimitExceeded", "service limits were exceeded"),
        (Trap.INVALID, 400, "InvalidParameter", "invalid"),
        (Trap.NO_PERMISSION, 404, "NotAuthorizedOrNotFound", "Authorization failed"),
    ):
        fake.traps = {trap}
        with pytest.raises(oci.exceptions.ServiceError) as refused:
            compute.launch_instance(details)
        assert (refused.value.status, refused.value.code) == (status, code)
        assert message in refused.value.message


def test_every_state_that_the_sdk_knows_is_known() -> None:
    model = oci_core.models.Instance
    theirs = {getattr(model, name) for name in dir(model) if name.startswith("LIFECYCLE_STATE_")}
    assert theirs == {each.value for each in State}
    assert set(STATUSES) == set(State) - {State.TERMINATED}


# Base images.

NAME = "relight-base-0.0.74-amd64"
IMAGE_SPEC = ImageSpec(manifest(NAME), FRANKFURT, OWNER)
DISK = StagedDisk("bucket", "relight-staging/us/disk.qcow2", "https://bucket.example.com/?signed")


async def imported(driver: OciDriver) -> ImageAtProvider:
    """Import an image; each look takes it one step further."""
    made: ImageAtProvider = await driver.import_image(IMAGE_SPEC, DISK)
    for _ in range(3):
        made = await driver.image(made) or made
    return made


async def test_the_requests_for_images_are_those_of_the_sdk(
    fake: OciFake, driver: OciDriver, sdk: dict[str, Any]
) -> None:
    compute, models = sdk["compute"], oci_core.models
    made = await imported(driver)
    ours = compared(last(fake, "POST", "/images"))
    source = ours["body"]["imageSourceDetails"]
    details = models.CreateImageDetails(
        compartment_id=fake.compartment,
        display_name=NAME,
        freeform_tags={
            "relight-owner": OWNER,
            "relight-identity": IMAGE_SPEC.manifest.identity,
            "relight-architecture": "amd64",
        },
        launch_mode="PARAVIRTUALIZED",
        image_source_details=models.ImageSourceViaObjectStorageUriDetails(
            source_uri=source["sourceUri"],
            source_image_type="QCOW2",
            operating_system="Debian",
            operating_system_version="12",
        ),
    )
    again = compute.create_image(details, opc_retry_token=ours["token"]).data
    assert ours == compared(last(fake, "POST", "/images"))
    assert (again.id, again.lifecycle_state) == (made.image_id, "AVAILABLE")
    assert again.freeform_tags["relight-owner"] == OWNER
    note("oci", "import_image", Against.ORACLE)

    await driver.images(FRANKFURT)
    ours = compared(last(fake, "GET", "/images?"))
    listed = compute.list_images(fake.compartment).data
    assert ours == compared(last(fake, "GET", "/images?"))
    assert made.image_id in [each.id for each in listed]
    note("oci", "images", Against.ORACLE)

    await driver.image(made)
    ours = compared(last(fake, "GET", f"/images/{made.image_id}/shapes"))
    shapes = compute.list_image_shape_compatibility_entries(made.image_id).data
    assert {FLEX, FIXED} <= {each.shape for each in shapes}
    assert ours == compared(last(fake, "GET", f"/images/{made.image_id}/shapes"))
    put = compared(last(fake, "PUT", "/shapes/"))
    entry = models.AddImageShapeCompatibilityEntryDetails()
    shape = put["path"].rpartition("/")[2]
    compute.add_image_shape_compatibility_entry(
        made.image_id, shape, add_image_shape_compatibility_entry_details=entry
    )
    assert put == compared(last(fake, "PUT", "/shapes/"))
    read = compute.get_image(made.image_id).data
    assert (read.display_name, read.compartment_id) == (NAME, fake.compartment)
    note("oci", "image", Against.ORACLE)

    assert await driver.delete_image(made)
    ours = compared(last(fake, "DELETE", "/images/"))
    fake.images[made.image_id].state = "AVAILABLE"
    compute.delete_image(made.image_id)
    assert ours == compared(last(fake, "DELETE", "/images/"))
    note("oci", "delete_image", Against.ORACLE)


async def test_the_sdk_names_the_namespace_and_why_an_import_failed(
    fake: OciFake, driver: OciDriver
) -> None:
    fake.image_traps.add(ImageTrap.FAILS)
    await imported(driver)
    options = {
        "retry_strategy": oci.retry.NoneRetryStrategy(),
        "circuit_breaker_strategy": oci.circuit_breaker.NoCircuitBreakerStrategy(),
    }
    config = {
        "tenancy": TENANCY,
        "user": USER,
        "fingerprint": FINGERPRINT,
        "key_content": pem().decode(),
        "region": FRANKFURT,
    }
    work = pytest.importorskip("oci.work_requests").WorkRequestClient(
        config, service_endpoint=f"{fake.url}/{FRANKFURT}", **options
    )
    [image_id] = fake.made_images.failures
    ours = compared(last(fake, "GET", "/workRequests?"))
    [request] = work.list_work_requests(fake.compartment, resource_id=image_id).data
    assert ours == compared(last(fake, "GET", "/workRequests?"))
    assert request.status == "FAILED"
    ours = compared(last(fake, "GET", "/errors"))
    [error] = work.list_work_request_errors(request.id).data
    assert ours == compared(last(fake, "GET", "/errors"))
    assert error.message == "The disk could not be read"
    storage = pytest.importorskip("oci.object_storage").ObjectStorageClient(
        config, service_endpoint=f"{fake.url}/{FRANKFURT}/storage", **options
    )
    ours = compared(last(fake, "GET", "/n"))
    assert storage.get_namespace().data == NAMESPACE
    assert ours == compared(last(fake, "GET", "/n"))


async def test_the_image_of_a_machine_is_what_the_sdk_reads(
    fake: OciFake, driver: OciDriver, sdk: dict[str, Any]
) -> None:
    machine = await running(driver)
    instance = sdk["compute"].get_instance(machine.provider_id).data
    assert await driver.image_of(machine.provider_id) == instance.source_details.image_id
    note("oci", "image_of", Against.ORACLE)
