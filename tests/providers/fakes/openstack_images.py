"""Glance, as the fake OpenStack has it: images of both regions, and who needs one."""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devkit.simulated.images import ImageTrap
from tests.providers.fakes.base import Trap, VendorFake
from tests.providers.fakes.openstack_answers import PROJECT

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_READ_ONLY = {"status", "owner", "size", "checksum", "created_at", "updated_at", "self", "file"}
_REFUSALS = {
    Trap.QUOTA: (
        413,
        f"Project {PROJECT} is over a limit for [Resource image_count_total is over limit of 10]",
    ),
    Trap.NO_PERMISSION: (403, "You are not authorized to complete add_image action."),
    Trap.INVALID: (400, "Invalid disk format 'qcow2' for image."),
}


def glance_fault(status: int, words: str) -> JSONResponse:
    """An error as the framework of glance renders it for a client that asks for JSON."""
    title = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}
    name = title.get(status, "Request Entity Too Large")
    return JSONResponse(
        {"message": f"{words}<br /><br />\n\n\n", "code": f"{status} {name}", "title": name}, status
    )


@dataclass
class StoredImage:
    """An image.

    Attributes:
        shown: what glance answers of it, except for its status.
        status: now; `deleted` stays, because glance remembers each id.
        data: of its disk.
    """

    region: str
    shown: dict[str, Any]
    created_at: datetime
    status: str = "queued"
    data: bytes = b""
    is_needed: bool = False

    @property
    def answer(self) -> dict[str, Any]:
        size = len(self.data) if self.status == "active" else None
        return self.shown | {"status": self.status, "size": size}


class FakeGlance:
    """The images of one project.

    Attributes:
        stored: by id.
        page_size: of a listing.
        keeps_bytes: how much of a disk is kept, as where a connection ends early; None: all.
    """

    def __init__(self, cloud: VendorFake, offered: list[dict[str, Any]]) -> None:
        self._cloud = cloud
        self._offered = offered
        self.stored: dict[str, StoredImage] = {}
        self.page_size = 2
        self.keeps_bytes: int | None = None

    def routes(self, prefix: str) -> Mapping[str, Mapping[str, Callable[..., Awaitable[Response]]]]:
        return {
            f"{prefix}/images": {"GET": self._index, "POST": self._create},
            f"{prefix}/images/{{id}}": {"GET": self._show, "DELETE": self._delete},
            f"{prefix}/images/{{id}}/file": {"PUT": self._upload},
        }

    def add(self, name: str, region: str, **properties: Any) -> StoredImage:
        """Make an image as a request with these properties does."""
        now = self._cloud.now()
        image_id = str(properties.pop("id", uuid.uuid4()))
        at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        shown = {
            "id": image_id,
            "name": name,
            "visibility": "shared",
            "protected": False,
            "tags": [],
            "owner": PROJECT,
            "created_at": at,
            "updated_at": at,
            "self": f"/v2/images/{image_id}",
            "file": f"/v2/images/{image_id}/file",
            "schema": "/v2/schemas/image",
            **properties,
        }
        stored = self.stored[image_id] = StoredImage(region, shown, now)
        if ImageTrap.PUBLIC in self._cloud.image_traps:
            shown["visibility"] = "public"
        if ImageTrap.UNREADABLE_VISIBILITY in self._cloud.image_traps:
            del shown["visibility"]
        return stored

    def listed(self, region: str) -> list[dict[str, Any]]:
        """The images of the project in a region, the newest first."""
        found = [
            each
            for each in self.stored.values()
            if each.region == region and each.status != "deleted"
        ]
        shown = [self._answer(each) for each in reversed(found)]
        return [*shown, *shown] if Trap.DUPLICATE_LISTING in self._cloud.traps else shown

    async def _index(self, request: Request) -> Response:
        query = request.query_params
        own = self.listed(request.path_params["r"])
        found = [
            each
            for each in [*own, *self._offered]
            if query.get("name", each["name"]) == each["name"]
            and query.get("owner", each.get("owner")) == each.get("owner")
            and query.get("status", each["status"]) == each["status"]
        ]
        marker, size = query.get("marker"), self.page_size
        start = next((n + 1 for n, i in enumerate(found) if i["id"] == marker), 0)
        if Trap.ENDLESS_PAGES in self._cloud.traps:
            start = 0
        page = found[start : start + size]
        if Trap.TRUNCATED_PAGE in self._cloud.traps:
            page = [{"id": page[0]["id"]}, *page[1:]]
        more = start + size < len(found) or Trap.ENDLESS_PAGES in self._cloud.traps
        following = {"next": f"/v2/images?limit=2&marker={page[-1]['id']}"} if more else {}
        return JSONResponse({"images": page, "first": "/v2/images", "schema": "/s"} | following)

    async def _create(self, request: Request) -> Response:
        for trap, refusal in _REFUSALS.items():
            if trap in self._cloud.traps:
                return glance_fault(*refusal)
        image = dict(await request.json())
        image_id = image.get("id", str(uuid.uuid4()))
        wrong = _READ_ONLY & set(image) or {k for k, v in image.items() if _is_wrong(k, v)}
        if wrong or not _UUID.fullmatch(image_id):
            return glance_fault(400, f"Provided object does not match schema 'image': {wrong}")
        if image_id in self.stored:
            return glance_fault(409, f"Image ID {image_id} already exists!")
        name = image.pop("name")
        stored = self.add(name, request.path_params["r"], **image)
        location = {"Location": f"{request.url}/{image_id}"}
        return JSONResponse(stored.answer, 201, headers=location)

    async def _show(self, request: Request) -> Response:
        found = self._found(request)
        if found is None:
            return _absent(request)
        return JSONResponse(self._answer(found))

    async def _upload(self, request: Request) -> Response:
        found = self._found(request)
        if found is None:
            return _absent(request)
        if request.headers["content-type"] != "application/octet-stream":
            return glance_fault(415, "Unsupported media type")
        if found.status != "queued":
            words = f"Image status transition from {found.status} to saving is not allowed"
            return glance_fault(409, words)
        found.data = (await request.body())[: self.keeps_bytes]
        found.status = "killed" if ImageTrap.FAILS in self._cloud.image_traps else "active"
        return Response(status_code=204)

    async def _delete(self, request: Request) -> Response:
        found = self._found(request)
        if found is None:
            return _absent(request)
        image_id = request.path_params["id"]
        if found.shown["protected"]:
            return glance_fault(403, f"Image {image_id} is protected and cannot be deleted.")
        if found.is_needed:
            words = "the volume has snapshots that need it"
            return glance_fault(
                409, f"Image {image_id} could not be deleted because it is in use: {words}"
            )
        found.status = "deleted"
        return Response(status_code=204)

    def _answer(self, stored: StoredImage) -> dict[str, Any]:
        unknown = ImageTrap.UNKNOWN_STATUS in self._cloud.image_traps
        return stored.answer | ({"status": "thawing"} if unknown else {})

    def _found(self, request: Request) -> StoredImage | None:
        found = self.stored.get(request.path_params["id"])
        if found is None or found.status == "deleted" or found.region != request.path_params["r"]:
            return None
        return found


def _is_wrong(key: str, value: object) -> bool:
    kinds: dict[str, type] = {"min_disk": int, "min_ram": int, "tags": list, "protected": bool}
    return not isinstance(value, kinds.get(key, str)) or len(key) > 255


def _absent(request: Request) -> Response:
    return glance_fault(404, f"No image found with ID {request.path_params['id']}")
