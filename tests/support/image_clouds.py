"""The clouds that the contract of base images is tried on, each with injectable faults."""

import contextlib
import io
import subprocess
import tarfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes, SecretStr

from devkit.chaos.faulty_proxy import faulty_proxy
from devkit.chaos.provider_faults import ProviderFaults
from devkit.exercised import Against
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.images import SimulatedImages
from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageAtProvider, ImageManifest, ImageRef, ImageStatus
from relight.providers.driver import MachineSpec
from relight.providers.image_driver import Delivery, DiskFile, ImageSpec, StagedDisk
from relight.providers.lab import LabDriver
from starter.local.children import wait_until
from tests.providers.fakes import FAKES
from tests.providers.fakes.base import VendorFake
from tests.support.contract_clouds import ANSWER_WITHIN
from tests.support.exercised import noting

IMAGE_FAKES = [name for name, fake in FAKES.items() if fake.other_region]
IMAGE_CLOUDS = ["fake", *IMAGE_FAKES, pytest.param("lab", marks=pytest.mark.lab)]

DEADLINE = timedelta(seconds=60)

IDENTITY, ANOTHER_IDENTITY = "ab" * 32, "cd" * 32

PREFIX = "contract-"

_ENDED = {ImageStatus.AVAILABLE, ImageStatus.FAILED}


def manifest(name: str, identity: str = IDENTITY, architecture: str = "amd64") -> ImageManifest:
    return ImageManifest(
        name=name,
        architecture=architecture,
        distribution="debian-12",
        identity=identity,
        contract_sha256="12" * 32,
        disk_sha256="34" * 32,
        disk_bytes=1024**2,
        virtual_bytes=2 * 1024**3,
        packages={"tzdata": "2026a-0+deb12u1"},
    )


def write_qcow2(path: Path) -> None:
    """Write an empty disk of 1 MiB."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"]
    subprocess.run(argv, check=True, timeout=60)


def write_archive(path: Path) -> None:
    """Write an archive as the lab takes it, with one file."""
    with tarfile.open(path, "w") as archive:
        content = b"an image\n"
        entry = tarfile.TarInfo("etc/contract-image")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


class ImageCloud:
    """A driver under the contract of base images, with two of its regions.

    Attributes:
        driver: which has the calls for machines and those for images.
        faults: to inject into the calls for images.
        fake: what is behind the driver; None if that is real.
        sent: how many bytes of a disk were sent, at each report of the driver.
    """

    def __init__(
        self,
        driver: Any,
        regions: tuple[str, str],
        faults: ProviderFaults,
        folder: Path,
        fake: VendorFake | SimulatedImages | None = None,
        make_disk: Callable[[Path], None] | None = None,
    ) -> None:
        self.driver = driver
        self.region, self.other_region = regions
        self.faults = faults
        self.fake = fake
        self.sent: list[int] = []
        self._folder = folder
        self._make_disk = make_disk or write_qcow2

    def new_name(self, prefix: str = PREFIX) -> str:
        return f"{prefix}{uuid.uuid4().hex[:8]}-amd64"

    def spec(
        self, name: str, *, region: str = "", owner: str = OWNER, identity: str = IDENTITY
    ) -> ImageSpec:
        return ImageSpec(manifest(name, identity), region or self.region, owner)

    def disk(self) -> DiskFile | StagedDisk:
        """Return a small disk as the driver takes it."""
        if self.driver.image_limits.delivery is not Delivery.UPLOAD:
            return StagedDisk("bucket", "disk.qcow2", "https://bucket.example.com/disk.qcow2?x=y")
        path = self._folder / "disk.qcow2"
        if not path.exists():
            self._make_disk(path)
        return DiskFile(path, self.sent.append)

    async def imported(self, name: str) -> ImageAtProvider:
        """Return the image of a name once it is available."""
        begun = await self.driver.import_image(self.spec(name), self.disk())
        return await self.until_available(begun)

    async def until_ended(self, ref: ImageRef) -> ImageAtProvider | None:
        """Return an image once it is available, failed, or gone."""

        async def ended() -> bool:
            found = await self.driver.image(ref)
            return found is None or found.status in _ENDED

        await wait_until(ended, DEADLINE)
        found: ImageAtProvider | None = await self.driver.image(ref)
        return found

    async def until_available(self, ref: ImageRef) -> ImageAtProvider:
        found = await self.until_ended(ref)
        assert found is not None
        assert found.status is ImageStatus.AVAILABLE, found
        return found

    async def until_deleted(self, ref: ImageRef) -> None:
        await wait_until(self._gone(ref), DEADLINE)

    async def listed(self, prefix: str, region: str = "") -> list[ImageAtProvider]:
        listing = await self.driver.images(region or self.region, prefix)
        return list(listing.images)

    def machine(self, image: str) -> MachineSpec:
        return MachineSpec(
            region=self.region,
            user_data=SecretBytes(b"#cloud-config\n{}\n"),
            owner=OWNER,
            generation=1,
            image=image,
        )

    async def tidy(self) -> None:
        """Leave nothing behind."""
        self.faults.clear()
        if self.fake is not None:
            return  # It ends with the test.
        for region in (self.region, self.other_region):
            for image in await self.listed("", region):
                if "contract" in image.name:
                    await self.driver.delete_image(image)

    def _gone(self, ref: ImageRef) -> Callable[[], Awaitable[bool]]:
        async def gone() -> bool:
            return await self.driver.image(ref) is None

        return gone


@asynccontextmanager
async def image_cloud(request: pytest.FixtureRequest) -> AsyncIterator[ImageCloud]:
    """The cloud that a fixture's parameter names, one of `IMAGE_CLOUDS`."""
    folder = request.getfixturevalue("tmp_path")
    with contextlib.ExitStack() as stack:
        if request.param == "fake":
            fake = FakeCloud()
            east, west = FakeCloud.REGIONS
            cloud = ImageCloud(fake, (east, west), fake.provider_faults, folder, fake)
        elif request.param == "lab":
            lab = request.getfixturevalue("lab")
            proxy = stack.enter_context(faulty_proxy(lab.api_url))
            over_lab = LabDriver(proxy.url, SecretStr(lab.token), timeout=ANSWER_WITHIN)
            cloud = ImageCloud(
                noting(over_lab, Against.LAB),
                ("lab-east", "lab-west"),
                proxy.provider_faults,
                folder,
                make_disk=write_archive,
            )
        else:
            vendor = FAKES[request.param]()
            stack.enter_context(vendor.served())
            driver = noting(vendor.driver(folder), Against.FAKE)
            regions = (vendor.region, vendor.other_region)
            cloud = ImageCloud(driver, regions, vendor.image_faults, folder, vendor)
        try:
            yield cloud
        finally:
            await cloud.tidy()
            await cloud.driver.close()
