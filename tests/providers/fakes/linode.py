"""Linode in memory: labels are unique, times have no zone, pages have numbers, tags are short."""

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from devkit.chaos.provider_faults import Call, ProviderFault
from relight.providers.driver import ProviderDriver
from relight.providers.linode.driver import LinodeDriver, LinodeSettings
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.linode_images import (
    REGIONS,
    UPLOADS,
    LinodeImagesFake,
    refused,
)
from tests.providers.fakes.machines import Machines, Power

TOKEN = "linode-token"
TYPES = ("g6-nanode-1", "g6-standard-1")
IMAGE = "private/100"
MAX_USER_DATA_BYTES = 65_535

# What a machine is after each read, until it runs.
STEPS = ("provisioning", "offline", "booting", "running")
POWERS = {Power.BOOTING: "booting", Power.ON: "running", Power.OFF: "offline"}

LOCATION = {"shapes": list(TYPES), "image_prefix": "relight-base-"}


@dataclass
class Linode:
    id: int
    body: Mapping[str, Any]
    created: datetime
    behind: Machines
    steps: list[str] = field(default_factory=lambda: list(STEPS))
    deleted: bool = False

    @property
    def label(self) -> str:
        return str(self.body["label"])

    @property
    def status(self) -> str:
        if self.deleted:
            return "deleting"
        is_started = self.steps[0] == "running"
        return POWERS[self.behind.power(str(self.id))] if is_started else self.steps[0]

    def shown(self) -> dict[str, Any]:
        made_up = f"203.0.113.{self.id % 250 + 1}"
        return {
            "id": self.id,
            "label": self.label,
            "group": "",
            "region": self.body["region"],
            "type": self.body["type"],
            "image": self.body["image"],
            "status": self.status,
            "ipv4": ["192.168.130.7", self.behind.address(str(self.id), made_up)],
            "ipv6": "2001:db8::1/128",
            "tags": list(self.body.get("tags", [])),
            "created": f"{self.created:%Y-%m-%dT%H:%M:%S}",
            "updated": f"{self.created:%Y-%m-%dT%H:%M:%S}",
            "hypervisor": "kvm",
            "has_user_data": "metadata" in self.body,
            "watchdog_enabled": True,
            "specs": {"disk": 25600, "memory": 1024, "vcpus": 1, "gpus": 0, "transfer": 1000},
            "alerts": {"cpu": 90, "network_in": 10, "network_out": 10, "io": 10000},
            "backups": {"enabled": False, "available": False},
            "host_uuid": "3a3ddd59d9a78bb8de041391075df44de62bfec8",
            "lke_cluster_id": None,
        }


class LinodeFake(LinodeImagesFake):
    """One account.

    Attributes:
        machines: by id, those that are being deleted too.
        max_page_size: pages have no more items, whatever is asked for.
        restricted: whether the token's user is one.
    """

    name = LinodeDriver.name
    region = REGIONS[0]
    has_console = False

    def __init__(self) -> None:
        super().__init__()
        self.machines: dict[int, Linode] = {}
        self.max_page_size = 500
        self.restricted = False
        self._ids = itertools.count(4711)

    def settings(self, folder: Path, **values: Any) -> LinodeSettings:
        """Return settings with which the driver reaches this fake."""
        token_file = folder / "linode-token"
        token_file.write_text(f"{TOKEN}\n")
        given = {
            "url": f"{self.url}/v4",
            "token_file": token_file,
            "timeout": "5s",
            "locations": dict.fromkeys(REGIONS, LOCATION),
        }
        return LinodeSettings.model_validate(given | values)

    def driver(self, folder: Path) -> ProviderDriver:
        return LinodeDriver(self.settings(folder))

    def routes(self) -> Sequence[BaseRoute]:
        instances = "/linode/instances"
        found: list[tuple[str, str, Callable[[Request], Response]]] = [
            ("GET", instances, self._list),
            ("POST", instances, self._create),
            ("GET", f"{instances}/{{id}}", self._get),
            ("DELETE", f"{instances}/{{id}}", self._delete),
            ("GET", "/profile", self._profile),
            *self.image_routes(),
            ("GET", "/regions/{id}", self._region),
            ("GET", "/linode/types/{id}", self._type),
        ]
        return [
            Mount(
                "/v4",
                routes=[
                    Route(path, self._authorized(answer), methods=[method])
                    for method, path, answer in found
                ],
            ),
            Route(f"{UPLOADS}/{{number:int}}", self.receive, methods=["PUT"]),
        ]

    def call_of(self, request: Request) -> Call | None:
        if not request.url.path.startswith("/v4/linode/instances"):
            return None
        return {"POST": Call.CREATE, "DELETE": Call.DESTROY}.get(request.method, Call.READ)

    def refusal(self, fault: ProviderFault) -> Response:
        if fault is ProviderFault.TOO_MANY_REQUESTS:
            return refused(429, "Too many requests")
        return refused(500, "Internal Server Error")

    def accepted(self, request: Request) -> Response:
        return JSONResponse({})

    def add(self, label: str, *, region: str = REGIONS[0], tags: Sequence[str] = ()) -> Linode:
        """Make a machine as somebody else does."""
        body = {"label": label, "region": region, "type": TYPES[0], "image": IMAGE, "tags": tags}
        return self._made(body)

    # ------------------------------------------------------------------ the API

    def _authorized(self, answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
        async def checked(request: Request) -> Response:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return refused(401, "Invalid Token")
            if Trap.NO_PERMISSION in self.traps:
                return refused(403, "Unauthorized")
            request.state.body = await request.body()
            return answer(request)

        return checked

    def _list(self, request: Request) -> Response:
        wanted = json.loads(request.headers.get("X-Filter", "{}"))
        known = {name: value for name, value in wanted.items() if not name.startswith("+")}
        if any(name not in {"label", "region"} for name in known):
            return refused(400, f"Cannot filter on {', '.join(known)}")
        newest = max(self.machines, default=0)
        shown = []
        for machine in list(self.machines.values()):
            if Trap.STALE_LISTING in self.traps and machine.id == newest:
                continue
            entry = machine.shown()
            if all(entry[name] == value for name, value in known.items()):
                shown.append(entry)
                self._advance(machine)
        if Trap.DUPLICATE_LISTING in self.traps:
            shown = [entry for entry in shown for _ in range(2)]
        return self._page(request, shown)

    def _page(self, request: Request, shown: Sequence[Mapping[str, Any]]) -> Response:
        page, size = (int(request.query_params.get(name, given)) for name, given in PAGE)
        if not 25 <= size <= 500:
            return refused(400, "Must be 25-500", "page_size")
        size = min(size, self.max_page_size)
        pages = max(-(-len(shown) // size), 1)
        if Trap.ENDLESS_PAGES in self.traps:
            page, pages = 1, 2
        if page > pages:
            return refused(404, "Not found")
        data = list(shown[(page - 1) * size : page * size])
        if Trap.TRUNCATED_PAGE in self.traps:
            data = data[:-1]
        return JSONResponse({"data": data, "page": page, "pages": pages, "results": len(shown)})

    def _create(self, request: Request) -> Response:
        body = json.loads(request.state.body)
        wrong = self._wrong(body)
        if wrong is not None:
            return wrong
        return JSONResponse(self._made(body).shown())

    def _wrong(self, body: Mapping[str, Any]) -> Response | None:
        checks: tuple[tuple[str, bool, str], ...] = (
            ("type", body.get("type") in TYPES, "type is not valid"),
            ("region", body.get("region") in REGIONS, "region is not valid"),
            ("image", self._usable(body.get("image")), "image is not valid"),
            ("image", Trap.INVALID not in self.traps, "image is not valid"),
            ("root_pass", 7 <= len(body.get("root_pass", "")) <= 128, "root_pass is required"),
            ("label", 3 <= len(body["label"]) <= 64 and "--" not in body["label"], "bad label"),
            ("tags", all(3 <= len(tag) <= 50 for tag in body["tags"]), "Length must be 3-50"),
            ("metadata.user_data", _fits(body["metadata"]["user_data"]), "user_data is too large"),
        )
        for name, is_right, reason in checks:
            if not is_right:
                return refused(400, reason, name)
        if any(machine.label == body["label"] for machine in self.machines.values()):
            return refused(400, "Label must be unique", "label")
        if Trap.QUOTA in self.traps:
            return refused(400, "Account Limit reached. Please open a support ticket.")
        if self.is_full("", body["type"]):
            return refused(400, "No open slots for this plan!", "type")
        return None

    def _usable(self, id: object) -> bool:
        return any(each["id"] == id and each["status"] == "available" for each in self.images)

    def _made(self, body: Mapping[str, Any]) -> Linode:
        machine = Linode(next(self._ids), body, self.now(), self.behind)
        user_data = base64.b64decode(body.get("metadata", {}).get("user_data", ""))
        self.behind.create(str(machine.id), machine.label, body["region"], user_data)
        if Trap.NEVER_STARTS in self.traps:
            machine.steps = ["provisioning"]
        if Trap.STARTS_FAILED in self.traps:
            machine.steps = ["provisioning", "shutting_down"]
        self.machines[machine.id] = machine
        self.bill.begin(Billed.MACHINE, str(machine.id), machine.label, machine.created)
        return machine

    def _get(self, request: Request) -> Response:
        machine = self._of(request)
        if machine is None:
            return refused(404, "Not found")
        shown = machine.shown()
        self._advance(machine)
        return JSONResponse(shown)

    def _delete(self, request: Request) -> Response:
        machine = self._of(request)
        if machine is None:
            return refused(404, "Not found")
        machine.deleted = True
        machine.behind.delete(str(machine.id))
        return JSONResponse({})

    def _profile(self, request: Request) -> Response:
        headers = {"X-OAuth-Scopes": "images:read_write linodes:read_write"}
        profile = {"username": "relight", "restricted": self.restricted, "email": "x@example.com"}
        return JSONResponse(profile, headers=headers | {"X-RateLimit-Limit": "800"})

    def _region(self, request: Request) -> Response:
        if request.path_params["id"] not in REGIONS:
            return refused(404, "Not found")
        capabilities = ["Linodes", "Metadata", "VPCs"]
        found = {"id": request.path_params["id"], "status": "ok", "capabilities": capabilities}
        return JSONResponse(found | {"country": "us", "label": "Somewhere"})

    def _type(self, request: Request) -> Response:
        if request.path_params["id"] not in TYPES:
            return refused(404, "Not found")
        return JSONResponse({"id": request.path_params["id"], "vcpus": 1, "memory": 1024})

    def _of(self, request: Request) -> Linode | None:
        number = request.path_params["id"]
        return self.machines.get(int(number)) if number.isdigit() else None

    def _advance(self, machine: Linode) -> None:
        """Take the next step after a read: a new machine boots, a deleted one is gone."""
        if machine.deleted and not machine.behind.is_gone(str(machine.id)):
            return
        if machine.deleted:
            del self.machines[machine.id]
            self.bill.end(Billed.MACHINE, str(machine.id), self.now())
        elif len(machine.steps) > 1:
            del machine.steps[0]


PAGE = (("page", "1"), ("page_size", "100"))


def _fits(user_data: str) -> bool:
    try:
        return len(base64.b64decode(user_data, validate=True)) <= MAX_USER_DATA_BYTES
    except binascii.Error:
        return False
