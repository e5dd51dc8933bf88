"""Base images: one disk each, of one architecture, published to regions of providers.

An image holds what every release of the service needs, and no release. Its name never names another
content: the same name means the same bytes in every region.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AwareDatetime, Field, StringConstraints

from relight.domain.base import Message
from relight.domain.names import DebianVersion, PackageName
from relight.domain.release import ArchitectureName

ImageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,46}[a-z0-9])?$")]
"""Name of an image: prefix, label and architecture, as in `relight-base-0.0.74-amd64`. Up to
48 characters: every provider takes it as it is."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ImageManifest(Message):
    """What the build of an image says of it: the file `NAME.json` beside the disk `NAME.qcow2`.

    Attributes:
        name: of the image.
        architecture: Debian's name, as in `amd64`.
        distribution: and its version, as in `debian-12`.
        identity: digest of the build's inputs: base, script, contract, downloads. The same identity
            is the same image, so it is not built again.
        contract_sha256: digest of the contract that the build was checked against.
        contents_sha256: digest of the files on the disk: names, modes, owners, times and contents.
            None of an image that another build made.
        disk_sha256: digest of the disk file.
        disk_bytes: size of the disk file.
        virtual_bytes: size of the disk that a machine sees.
        packages: the version of each installed package.
        provides: what they provide besides, each as its package says it: `awk`, or
            `libcurl4 (= 8.5.0-2)`.
    """

    name: ImageName
    architecture: ArchitectureName
    distribution: str
    identity: Sha256
    contract_sha256: Sha256
    disk_sha256: Sha256
    disk_bytes: int = Field(ge=1)
    virtual_bytes: int = Field(ge=1)
    packages: Mapping[PackageName, DebianVersion] = Field(min_length=1)
    contents_sha256: Sha256 | None = None
    provides: tuple[str, ...] = ()


class ImageStatus(StrEnum):
    """The status of an image in a region, as its provider reports it.

    `waiting`: the provider accepted the order and has not begun. `importing`: it works on it.
    """

    WAITING = "waiting"
    IMPORTING = "importing"
    AVAILABLE = "available"
    DELETING = "deleting"
    FAILED = "failed"


class Visibility(StrEnum):
    """Who can use an image. `unknown` counts as `public`: nothing is assumed to be safe."""

    PRIVATE = "private"
    PUBLIC = "public"
    UNKNOWN = "unknown"


class ImageRef(Message):
    """Identifies an image in a region.

    Attributes:
        name: of the image.
        provider: the driver's name.
        region: the provider's name of it.
        image_id: at the provider; the task's id while there is no image yet.
    """

    name: str
    provider: str
    region: str
    image_id: str


class ImageAtProvider(ImageRef):
    """An image as its provider lists it.

    Attributes:
        status: as the provider reports it.
        architecture: as the provider reports it; None if it does not.
        visibility: who can use it.
        owner: the ownership tag of our fleet, None without one. An image of another owner is never
            changed or deleted.
        identity: of its build, as in its tag; None without one.
        created_at: None if the provider does not report it.
        words: the provider's whole answer about it, bounded; kept when it failed.
    """

    status: ImageStatus
    architecture: str | None = None
    visibility: Visibility = Visibility.UNKNOWN
    owner: str | None = None
    identity: str | None = None
    created_at: AwareDatetime | None = None
    words: str = ""


class ImageListing(Message):
    """The images of one region.

    Attributes:
        images: ordered by name and id.
        complete: whether nothing can be missing. An incomplete listing proves no absence.
    """

    images: tuple[ImageAtProvider, ...]
    complete: bool = True


class StagedDisk(NamedTuple):
    """A disk in object storage, for as long as it is imported.

    Attributes:
        bucket: its name.
        key: of the object.
        url: by which it can be fetched without a login, until it expires. It is a secret: it must
            not get into a message or a log.
    """

    bucket: str
    key: str
    url: str
