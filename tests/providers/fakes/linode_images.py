"""Images at Linode, in memory: uploads and copies take a step at each read, labels repeat."""

import gzip
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devkit.chaos.provider_faults import Call
from devkit.simulated.images import ImageTrap
from tests.providers.fakes.base import Trap, VendorFake

REGIONS = ("us-east", "eu-central")
WITHOUT_STORAGE = "us-central"
"""A region of old, which has no object storage."""

UPLOADS = "/upload"

Answer = tuple[str, str, Callable[[Request], Response]]
"""A method, a path and what answers to it."""


class LinodeImagesFake(VendorFake):
    """The images of one account.

    Attributes:
        images: as the API lists them.
        uploads: the disks that came, by the number of their image.
        uploads_to_refuse: how many of the next disks are refused.
        copy_fails: the regions in which no copy is ever done.
    """

    other_region = REGIONS[1]
    IMAGE_TRAPS = frozenset(ImageTrap) - {ImageTrap.NEVER_STARTS, ImageTrap.REAPED}
    images_can_be_needed = False

    def __init__(self) -> None:
        super().__init__()
        self.images = [image(100, "relight-base-1"), image(101, "relight-base-0")]
        self.uploads: dict[int, bytes] = {}
        self.uploads_to_refuse = 0
        self.copy_fails: set[str] = set()
        self._image_numbers = itertools.count(200)

    def image_routes(self) -> Sequence[Answer]:
        """Return the API's part about images."""
        return [
            ("GET", "/images", self._list_images),
            ("POST", "/images/upload", self._new_upload),
            ("POST", "/images/{id:path}/regions", self._set_regions),
            ("GET", "/images/{id:path}", self._get_image),
            ("DELETE", "/images/{id:path}", self._delete_image),
        ]

    def image_call_of(self, request: Request) -> Call | None:
        path = request.url.path
        if not path.startswith(("/v4/images", UPLOADS)):
            return None
        kinds = {"GET": Call.READ, "POST": Call.CREATE, "DELETE": Call.DESTROY}
        return kinds.get(request.method)

    # ------------------------------------------------------------------ what a test does

    def add_foreign_image(self, name: str, region: str) -> str:
        found = image(next(self._image_numbers), name, [region])
        self.images.append(found)
        return str(found["id"])

    def images_named(self, name: str) -> int:
        return sum(each["label"] == name for each in self.images)

    # ------------------------------------------------------------------ the API

    async def receive(self, request: Request) -> Response:
        """Answer to a disk that is sent: the URL is the only credential."""
        number = request.path_params["number"]
        found = self._image_of(f"private/{number}")
        if "Authorization" in request.headers:
            return Response("only one way to log in is allowed", 400)
        if request.query_params.get("signature") != f"s{number}":
            return Response("<Code>SignatureDoesNotMatch</Code>", 403)
        if "Content-Length" not in request.headers:
            return Response("<Code>MissingContentLength</Code>", 411)
        if self.uploads_to_refuse:
            self.uploads_to_refuse -= 1
            return Response("<Code>SlowDown</Code>", 503)
        if found is None or found["status"] != "pending_upload":
            return Response("<Code>NoSuchUpload</Code>", 404)
        self.uploads[number] = gzip.decompress(await request.body())
        return Response("", 200)

    def _list_images(self, request: Request) -> Response:
        shown = [self._shown(each) for each in self.images]
        for each in list(self.images):
            self._step(each)
        return self._page(request, shown)

    def _get_image(self, request: Request) -> Response:
        found = self._image_of(request.path_params["id"])
        if found is None:
            return refused(404, "Not found")
        shown = self._shown(found)
        self._step(found)
        return JSONResponse(shown)

    def _new_upload(self, request: Request) -> Response:
        body = json.loads(request.state.body)
        checks: tuple[tuple[str, bool, str], ...] = (
            ("label", 1 <= len(body.get("label", "")) <= 50, "Length must be 1-50 characters"),
            ("region", body.get("region") in REGIONS, "region is not valid"),
            ("region", Trap.INVALID not in self.traps, "region is not valid"),
            ("tags", all(3 <= len(tag) <= 50 for tag in body.get("tags", [])), "bad tag"),
        )
        for name, is_right, reason in checks:
            if not is_right:
                return refused(400, reason, name)
        if Trap.QUOTA in self.traps:
            return refused(400, "Account Limit reached. Please open a support ticket.")
        number = next(self._image_numbers)
        made = image(number, body["label"], ()) | {
            "status": "pending_upload",
            "created": f"{self.now():%Y-%m-%dT%H:%M:%S}",
            "tags": body.get("tags", []),
            "description": body.get("description"),
            "capabilities": ["cloud-init"] if body.get("cloud_init") else [],
        }
        made["to"] = body["region"]
        self.images.append(made)
        upload_to = f"{self.url}{UPLOADS}/{number}?signature=s{number}"
        return JSONResponse({"image": self._shown(made), "upload_to": upload_to})

    def _set_regions(self, request: Request) -> Response:
        found = self._image_of(request.path_params["id"])
        wanted = json.loads(request.state.body).get("regions", [])
        if found is None:
            return refused(404, "Not found")
        there = {each["region"]: each for each in found["regions"]}
        wrong = _wrong(found, there, wanted)
        if wrong is not None:
            return wrong
        for region, copy in there.items():
            if region not in wanted:
                copy["status"] = "pending deletion"
        for region in wanted:
            if region not in there:
                copy = {"region": region, "status": "pending replication"}
                found["regions"].append(copy)
            elif there[region]["status"] == "timedout":
                there[region]["status"] = "pending replication"
        return JSONResponse(self._shown(found))

    def _delete_image(self, request: Request) -> Response:
        found = self._image_of(request.path_params["id"])
        if found is None:
            return refused(404, "Not found")
        self.images.remove(found)
        return JSONResponse({})

    def _page(self, request: Request, shown: Sequence[Mapping[str, Any]]) -> Response:
        raise NotImplementedError

    # ------------------------------------------------------------------ its state

    def _image_of(self, id: str) -> dict[str, Any] | None:
        return next((each for each in self.images if each["id"] == id), None)

    def _shown(self, found: Mapping[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in found.items() if name != "to"}
        shown["regions"] = [dict(each) for each in found["regions"]]
        if ImageTrap.UNKNOWN_STATUS in self.image_traps:
            for copy in shown["regions"]:
                copy["status"] = "thawing"
        if ImageTrap.PUBLIC in self.image_traps:
            shown["image_sharing"] = {"shared_with": {"sharegroup_count": 1}, "shared_by": None}
        if ImageTrap.UNREADABLE_VISIBILITY in self.image_traps:
            del shown["is_public"]
        return shown

    def _step(self, found: dict[str, Any]) -> None:
        """Take the next step after a read: what was uploaded is stored, a copy is done."""
        number = int(str(found["id"]).partition("/")[2])
        if found["status"] == "pending_upload" and number in self.uploads:
            if ImageTrap.FAILS in self.image_traps:
                self.images.remove(found)
                return
            found["status"] = "available"
            found["regions"] = [{"region": found["to"], "status": "creating"}]
            return
        for copy in list(found["regions"]):
            if copy["status"] == "pending deletion":
                found["regions"].remove(copy)
            elif copy["status"] == "pending replication":
                fails = copy["region"] in self.copy_fails
                copy["status"] = "timedout" if fails else "replicating"
            elif copy["status"] != "timedout":
                copy["status"] = "available"


def _wrong(
    found: Mapping[str, Any], there: Mapping[str, Any], wanted: Sequence[str]
) -> Response | None:
    """Return why an image cannot have its copies in these regions."""
    if found["status"] != "available":
        return refused(400, "The image must be available to be replicated.")
    for region in wanted:
        if region == WITHOUT_STORAGE:
            return refused(422, f"{region} does not support Object Storage", "regions")
        if region not in REGIONS:
            return refused(400, f"{region} is not valid", "regions")
    if not any(there.get(region, {}).get("status") == "available" for region in wanted):
        return refused(400, "At least one available region is required.", "regions")
    return None


def image(number: int, label: str, regions: Sequence[str] = REGIONS) -> dict[str, Any]:
    return {
        "id": f"private/{number}",
        "label": label,
        "description": None,
        "created": f"2026-11-0{number % 9 + 1}T12:00:00",
        "updated": "2026-11-01T12:00:00",
        "created_by": "relight",
        "deprecated": False,
        "is_public": False,
        "is_shared": False,
        "size": 2500,
        "total_size": 2500,
        "type": "manual",
        "status": "available",
        "vendor": None,
        "expiry": None,
        "eol": None,
        "capabilities": ["cloud-init"],
        "tags": [],
        "image_sharing": None,
        "regions": [{"region": region, "status": "available"} for region in regions],
    }


def refused(status: int, reason: str, name: str | None = None) -> Response:
    error = {"reason": reason} | ({"field": name} if name else {})
    return JSONResponse({"errors": [error]}, status_code=status)
