"""Named images: what a client has sent, as a layer over the lab's base image, in each region.

A client sends a tar archive of files, or a disk in qcow2 with a partition of ext4. A machine of
such an image has its files over those of the base image, and runs cloud-init. What an archive takes
away it names as a whiteout of overlayfs: a character device 0:0.
"""

import asyncio
import json
import secrets
import shutil
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from lab.commands import run, run_long
from lab.errors import LabError

_QCOW2 = b"QFI\xfb"
_LINUX = frozenset(
    {
        *("0FC63DAF-8483-4772-8E79-3D69D8477DE4", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"),
        *("B921B045-1DF0-41C3-AF44-4C6F280D3FAE", "83"),
    }
)
"""The types of a partition with a root folder: in GPT, and in a table of DOS."""


class ImageExistsError(LabError):
    """Another image of the region has this name."""


class ImageInUseError(LabError):
    """A machine was made of the image."""


class ImageStatus(StrEnum):
    """The status of an image in the API; `waiting` until its content is sent."""

    WAITING = "waiting"
    IMPORTING = "importing"
    AVAILABLE = "available"
    FAILED = "failed"


@dataclass
class NamedImage:
    """An image in a region.

    Attributes:
        id: the lab's id.
        name: unique in its region.
        region: its region.
        folder: with its files; images that were copied from region to region share it.
        tags: stored for clients.
        created_at: the time of the request.
        status: its status.
        reason: why it failed, None if it did not.
    """

    id: str
    name: str
    region: str
    folder: Path
    tags: Mapping[str, str]
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: ImageStatus = ImageStatus.WAITING
    reason: str | None = None


class NamedImages:
    """The named images of all regions."""

    def __init__(self, folder: Path) -> None:
        """Keep the files of images below a folder."""
        self._folder = folder
        self._images: dict[str, NamedImage] = {}

    def list(self) -> list[NamedImage]:
        """Return the images, oldest first."""
        return list(self._images.values())

    def find(self, image_id: str) -> NamedImage | None:
        """Return the image with this id, None if there is none."""
        return self._images.get(image_id)

    def create(self, name: str, region: str, tags: Mapping[str, str]) -> NamedImage:
        """Return a new image, whose content is to be sent.

        Raises:
            ImageExistsError: another image of the region has this name.
        """
        image_id = f"image-{secrets.token_hex(4)}"
        return self._add(NamedImage(image_id, name, region, self._folder / image_id, tags))

    def copy(self, image: NamedImage, region: str) -> NamedImage:
        """Return a new image of another region with the same content.

        Raises:
            ImageExistsError: another image of that region has this name.
            LabError: the image is not available.
        """
        if image.status is not ImageStatus.AVAILABLE:
            raise LabError(f"image {image.id} is {image.status}, not available")
        copied = NamedImage(
            f"image-{secrets.token_hex(4)}",
            image.name,
            region,
            image.folder,
            image.tags,
            status=image.status,
        )
        return self._add(copied)

    def delete(self, image: NamedImage) -> None:
        """Remove an image; its files are removed with the last one that has them."""
        self._images.pop(image.id, None)
        if all(each.folder != image.folder for each in self.list()):
            shutil.rmtree(image.folder, ignore_errors=True)

    async def receive(self, image: NamedImage, content: AsyncIterable[bytes]) -> None:
        """Take the content of an image, instead of any that was sent before.

        Raises:
            LabError: the image is available already.
        """
        if image.status in {ImageStatus.IMPORTING, ImageStatus.AVAILABLE}:
            raise LabError(f"image {image.id} is {image.status}")
        image.status = ImageStatus.IMPORTING
        shutil.rmtree(image.folder, ignore_errors=True)
        root, sent = image.folder / "root", image.folder / "sent"
        root.mkdir(parents=True)
        try:
            with sent.open("wb") as file:
                async for chunk in content:
                    file.write(chunk)
            await _unpack(sent, root)
        except (LabError, OSError) as error:
            image.status, image.reason = ImageStatus.FAILED, str(error)
        else:
            image.status = ImageStatus.AVAILABLE
        finally:
            if image.status is ImageStatus.IMPORTING:
                image.status = ImageStatus.WAITING  # the client has gone, and may send it again
            sent.unlink(missing_ok=True)

    def _add(self, image: NamedImage) -> NamedImage:
        if any((each.name, each.region) == (image.name, image.region) for each in self.list()):
            raise ImageExistsError(f"an image {image.name} exists in {image.region}")
        self._images[image.id] = image
        return image


async def _unpack(sent: Path, root: Path) -> None:
    with sent.open("rb") as file:
        is_disk = file.read(len(_QCOW2)) == _QCOW2
    if not is_disk:
        options = ("--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*")
        await run_long("tar", *options, "--directory", root, "--file", sent)
    else:
        raw = sent.with_name("raw")
        try:
            await run_long("qemu-img", "convert", "-f", "qcow2", "-O", "raw", sent, raw)
            offset = await asyncio.to_thread(_root_offset, raw)
            # debugfs needs neither a mount nor a device, so a killed lab leaves none behind.
            await run_long("debugfs", "-R", f'rdump / "{root}"', f"{raw}?offset={offset}")
        finally:
            raw.unlink(missing_ok=True)
    _require_files(root)


def _require_files(root: Path) -> None:
    if not any(root.iterdir()):
        raise LabError("there are no files in what was sent")
    root.chmod(0o755)  # it is the machine's root folder


def _root_offset(disk: Path) -> int:
    """Return where the first partition begins that can have a root folder, in bytes."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    for partition in table["partitions"]:
        if partition["type"] in _LINUX:
            return int(partition["start"]) * int(table.get("sectorsize", 512))
    raise LabError("the disk has no partition of Linux")
