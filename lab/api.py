"""The lab's HTTP API, of the kind that VPS providers have."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from lab.cloud import Cloud, LabelInUseError
from lab.errors import LabError
from lab.machine import LabMachine, NotStoppedError
from lab.network import REGIONS

LONGEST_USER_DATA = 64 * 1024
MOST_TAGS = 16

Tags = dict[
    Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")],
    Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,63}$")],
]
"""What somebody writes on a machine, by name."""


class Region(BaseModel):
    """Where machines can be."""

    name: str
    architecture: str


class NewMachine(BaseModel):
    """What to create. The label is the host name, too; tags stay with the machine as they are."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    region: str
    user_data: SecretStr = Field(default=SecretStr(""), max_length=LONGEST_USER_DATA)
    image: str | None = None
    tags: Tags = Field(default={}, max_length=MOST_TAGS)


class Machine(BaseModel):
    """A machine as it is told of."""

    id: str
    label: str
    region: str
    architecture: str
    status: str
    address: str
    created_at: datetime
    tags: dict[str, str]
    reason: str | None


def lab_api(cloud: Cloud, token: str, image: str) -> FastAPI:
    """Return the API of a cloud.

    Args:
        cloud: whose machines it offers.
        token: what every request has to bear.
        image: the name of the one image that there is.
    """
    api = FastAPI(title="The lab", docs_url=None, redoc_url=None, openapi_url=None)
    api.state.cloud, api.state.token, api.state.image = cloud, token, image
    api.add_exception_handler(RequestValidationError, _unprocessable)
    api.include_router(_routes, prefix="/v1", dependencies=[Depends(_authorize)])
    return api


_routes = APIRouter()
_BEARER = HTTPBearer(auto_error=False)


async def _authorize(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> None:
    token: str = request.app.state.token
    if given is None or not secrets.compare_digest(given.credentials.encode(), token.encode()):
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


_TheCloud = Annotated[Cloud, Depends(_cloud)]
_Existing = Annotated[LabMachine, Depends(_existing)]


@_routes.get("/regions")
async def _list_regions(cloud: _TheCloud) -> list[Region]:
    return [Region(name=name, architecture=cloud.architecture) for name in REGIONS]


@_routes.get("/machines")
async def _list_machines(cloud: _TheCloud, label: str | None = None) -> list[Machine]:
    return [_told(machine, cloud) for machine in cloud.list(label)]


@_routes.post("/machines", status_code=status.HTTP_202_ACCEPTED)
async def _create_machine(new: NewMachine, cloud: _TheCloud, request: Request) -> Machine:
    image: str = request.app.state.image
    if new.region not in REGIONS:
        known = ", ".join(REGIONS)
        raise _refusal(f"there is no region {new.region}; there are {known}")
    if new.image not in (None, image):
        raise _refusal(f"there is no image {new.image}; there is {image}")
    user_data = new.user_data.get_secret_value()
    try:
        return _told(cloud.create(new.label, new.region, user_data, new.tags), cloud)
    except LabelInUseError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    except LabError as error:  # the region is full
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from None


@_routes.get("/machines/{machine_id}")
async def _show_machine(machine: _Existing, cloud: _TheCloud) -> Machine:
    return _told(machine, cloud)


@_routes.delete("/machines/{machine_id}", status_code=status.HTTP_202_ACCEPTED)
async def _delete_machine(machine: _Existing, cloud: _TheCloud) -> Machine:
    cloud.delete(machine)
    return _told(machine, cloud)


@_routes.post("/machines/{machine_id}/start", status_code=status.HTTP_202_ACCEPTED)
async def _start_machine(machine: _Existing, cloud: _TheCloud) -> Machine:
    try:
        machine.power_on()
    except NotStoppedError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    return _told(machine, cloud)


@_routes.get("/machines/{machine_id}/console", response_class=PlainTextResponse)
async def _show_console(machine: _Existing) -> str:
    return machine.console()


def _told(machine: LabMachine, cloud: Cloud) -> Machine:
    return Machine(
        id=machine.order.id,
        label=machine.order.label,
        region=machine.order.region,
        architecture=cloud.architecture,
        status=machine.status,
        address=str(machine.address),
        created_at=machine.created_at,
        tags=dict(machine.order.tags),
        reason=machine.reason,
    )


def _refusal(text: str) -> HTTPException:
    return HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, text)


async def _unprocessable(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Say what is wrong with a request, and not what was in it: user-data holds secrets."""
    assert isinstance(error, RequestValidationError)
    problems: Sequence[dict[str, object]] = error.errors()
    detail = [{"loc": problem["loc"], "msg": problem["msg"]} for problem in problems]
    return JSONResponse({"detail": detail}, status.HTTP_422_UNPROCESSABLE_CONTENT)
