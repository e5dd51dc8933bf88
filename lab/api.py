"""The lab's HTTP API, similar to that of a cloud provider."""

import base64
import binascii
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from lab.cloud import Cloud, LabelInUseError, SnapshotExistsError
from lab.errors import LabError
from lab.machine import LabMachine, NotStoppedError
from lab.named_images import ImageExistsError, ImageInUseError, ImageStatus, NamedImage
from lab.network import REGIONS

MAX_USER_DATA_CHARACTERS = 64 * 1024
MAX_TAGS = 16
MAX_FILES = 16

Tags = dict[
    Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")],
    Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")],
]
"""The tags of a machine or an image, by name. The lab stores them for its clients and does not use
them."""

Files = dict[
    Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$")],
    Annotated[SecretStr, Field(max_length=MAX_USER_DATA_CHARACTERS)],
]
"""Contents of files, by absolute path."""


class Region(BaseModel):
    """A region for machines."""

    name: str
    architecture: str


class NewMachine(BaseModel):
    """A request for a machine. Its label is also its host name.

    The image is a snapshot's name, the id of a named image, `NAME-stock` for that of a stock cloud,
    or None for the base image. cloud-init does not run on a machine from a snapshot: it takes files
    and no user-data.
    """

    model_config = ConfigDict(extra="forbid")

    label: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    region: str
    user_data: SecretStr = Field(default=SecretStr(""), max_length=MAX_USER_DATA_CHARACTERS)
    """For cloud-init, in base64, as at most clouds."""
    image: str | None = None
    files: Files = Field(default={}, max_length=MAX_FILES)
    tags: Tags = Field(default={}, max_length=MAX_TAGS)


class NewSnapshot(BaseModel):
    """A request for a snapshot of a stopped machine's disk."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")


class NewImage(BaseModel):
    """A request for a named image, whose content is to be sent."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")
    region: str
    tags: Tags = Field(default={}, max_length=MAX_TAGS)


class NewCopy(BaseModel):
    """A request for the same image in another region."""

    model_config = ConfigDict(extra="forbid")

    region: str


class Image(BaseModel):
    """A named image, as the API shows it."""

    id: str
    name: str
    region: str
    architecture: str
    status: str
    visibility: str
    created_at: datetime
    tags: dict[str, str]
    reason: str | None


class Machine(BaseModel):
    """A machine, as the API shows it."""

    id: str
    label: str
    region: str
    architecture: str
    status: str
    address: str
    created_at: datetime
    tags: dict[str, str]
    image: str | None
    reason: str | None


def lab_api(cloud: Cloud, token: str, image: str) -> FastAPI:
    """Return the API of a cloud.

    Args:
        cloud: the machines.
        token: the bearer token that every request must have.
        image: the name of the base image.
    """
    api = FastAPI(title="The lab", docs_url=None, redoc_url=None, openapi_url=None)
    api.state.cloud, api.state.token, api.state.image = cloud, token, image
    api.add_exception_handler(RequestValidationError, _unprocessable)
    api.include_router(_routes, prefix="/v1", dependencies=[Depends(_authorize)])
    return api


_routes = APIRouter()
_BEARER = HTTPBearer(auto_error=False)


async def _authorize(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> None:
    token: str = request.app.state.token
    if credentials is None or not secrets.compare_digest(
        credentials.credentials.encode(), token.encode()
    ):
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "no valid token",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def _cloud(request: Request) -> Cloud:
    cloud: Cloud = request.app.state.cloud
    return cloud


async def _existing(machine_id: str, cloud: Annotated[Cloud, Depends(_cloud)]) -> LabMachine:
    machine = cloud.find(machine_id)
    if machine is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no machine {machine_id}")
    return machine


_CloudDependency = Annotated[Cloud, Depends(_cloud)]
_ExistingMachine = Annotated[LabMachine, Depends(_existing)]


@_routes.get("/regions")
async def _list_regions(cloud: _CloudDependency) -> list[Region]:
    return [Region(name=name, architecture=cloud.architecture) for name in REGIONS]


@_routes.get("/machines")
async def _list_machines(cloud: _CloudDependency, label: str | None = None) -> list[Machine]:
    return [_shown(machine, cloud) for machine in cloud.list(label)]


@_routes.post("/machines", status_code=status.HTTP_202_ACCEPTED)
async def _create_machine(new: NewMachine, cloud: _CloudDependency, request: Request) -> Machine:
    image: str = request.app.state.image
    _require_region(new.region)
    stock = f"{image}-stock"
    named = cloud.images.find(new.image or "")
    if named is not None and (named.region, named.status) != (new.region, ImageStatus.AVAILABLE):
        raise _refusal(f"image {named.id} is {named.status} in {named.region}")
    if named is None and new.image not in (None, image, stock, *cloud.snapshots):
        known = ", ".join((image, stock, *cloud.snapshots))
        raise _refusal(f"there is no image {new.image}; there is {known}")
    snapshot = None if named is not None or new.image in (image, stock) else new.image
    try:
        user_data = base64.b64decode(new.user_data.get_secret_value(), validate=True)
    except binascii.Error:
        raise _refusal("user_data is not in base64") from None
    if new.files and snapshot is None:
        raise _refusal("files need a snapshot as the image; the base image takes user_data")
    if user_data and snapshot is not None:
        raise _refusal(f"the snapshot {snapshot} takes no user_data: cloud-init does not run")
    files = {path: content.get_secret_value() for path, content in new.files.items()}
    try:
        machine = cloud.create(
            new.label,
            new.region,
            user_data,
            new.tags,
            source=named or snapshot,
            stock=new.image == stock,
            files=files,
        )
        return _shown(machine, cloud)
    except LabelInUseError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    except LabError as error:  # the region is full
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from None


@_routes.get("/machines/{machine_id}")
async def _show_machine(machine: _ExistingMachine, cloud: _CloudDependency) -> Machine:
    return _shown(machine, cloud)


@_routes.delete("/machines/{machine_id}", status_code=status.HTTP_202_ACCEPTED)
async def _delete_machine(machine: _ExistingMachine, cloud: _CloudDependency) -> Machine:
    cloud.delete(machine)
    return _shown(machine, cloud)


@_routes.post("/machines/{machine_id}/start", status_code=status.HTTP_202_ACCEPTED)
async def _start_machine(machine: _ExistingMachine, cloud: _CloudDependency) -> Machine:
    try:
        machine.power_on()
    except NotStoppedError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    return _shown(machine, cloud)


@_routes.post("/machines/{machine_id}/snapshots", status_code=status.HTTP_201_CREATED)
async def _take_snapshot(
    new: NewSnapshot, machine: _ExistingMachine, cloud: _CloudDependency
) -> None:
    try:
        # Blocks all requests for the copy, so that nothing starts or removes the machine meanwhile.
        cloud.take_snapshot(machine, new.name)
    except (NotStoppedError, SnapshotExistsError) as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None


@_routes.get("/machines/{machine_id}/console", response_class=PlainTextResponse)
async def _show_console(machine: _ExistingMachine) -> str:
    return machine.console()


async def _existing_image(image_id: str, cloud: _CloudDependency) -> NamedImage:
    image = cloud.images.find(image_id)
    if image is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no image {image_id}")
    return image


_ExistingImage = Annotated[NamedImage, Depends(_existing_image)]


@_routes.get("/images")
async def _list_images(cloud: _CloudDependency) -> list[Image]:
    return [_shown_image(image, cloud) for image in cloud.images.list()]


@_routes.post("/images", status_code=status.HTTP_202_ACCEPTED)
async def _create_image(new: NewImage, cloud: _CloudDependency) -> Image:
    _require_region(new.region)
    try:
        return _shown_image(cloud.images.create(new.name, new.region, new.tags), cloud)
    except ImageExistsError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None


@_routes.get("/images/{image_id}")
async def _show_image(image: _ExistingImage, cloud: _CloudDependency) -> Image:
    return _shown_image(image, cloud)


@_routes.put("/images/{image_id}/content")
async def _receive_image(image: _ExistingImage, cloud: _CloudDependency, request: Request) -> Image:
    try:
        await cloud.images.receive(image, request.stream())
    except LabError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    return _shown_image(image, cloud)


@_routes.post("/images/{image_id}/copies", status_code=status.HTTP_202_ACCEPTED)
async def _copy_image(new: NewCopy, image: _ExistingImage, cloud: _CloudDependency) -> Image:
    _require_region(new.region)
    try:
        return _shown_image(cloud.images.copy(image, new.region), cloud)
    except LabError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None


@_routes.delete("/images/{image_id}", status_code=status.HTTP_202_ACCEPTED)
async def _delete_image(image: _ExistingImage, cloud: _CloudDependency) -> Image:
    try:
        cloud.delete_image(image)
    except ImageInUseError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    return _shown_image(image, cloud)


def _require_region(name: str) -> None:
    if name not in REGIONS:
        known = ", ".join(REGIONS)
        raise _refusal(f"there is no region {name}; there are {known}")


def _shown_image(image: NamedImage, cloud: Cloud) -> Image:
    return Image(
        id=image.id,
        name=image.name,
        region=image.region,
        architecture=cloud.architecture,
        status=image.status,
        visibility="private",
        created_at=image.created_at,
        tags=dict(image.tags),
        reason=image.reason,
    )


def _shown(machine: LabMachine, cloud: Cloud) -> Machine:
    return Machine(
        id=machine.spec.id,
        label=machine.spec.label,
        region=machine.spec.region,
        architecture=cloud.architecture,
        status=machine.status,
        address=str(machine.address),
        created_at=machine.created_at,
        tags=dict(machine.spec.tags),
        image=machine.spec.image or None,
        reason=machine.reason,
    )


def _refusal(text: str) -> HTTPException:
    return HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, text)


async def _unprocessable(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Describe the errors of a request without its values: user-data contains secrets."""
    assert isinstance(error, RequestValidationError)
    errors: Sequence[dict[str, object]] = error.errors()
    detail = [{"loc": each["loc"], "msg": each["msg"]} for each in errors]
    return JSONResponse({"detail": detail}, status.HTTP_422_UNPROCESSABLE_CONTENT)
