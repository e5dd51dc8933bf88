"""OpenStack: keystone, nova, glance and neutron of one project in two regions."""

import base64
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.images import ImageTrap
from relight.providers.locations import LocationSettings
from relight.providers.openstack.driver import OpenStackDriver
from relight.providers.openstack.settings import OpenStackSettings
from tests.providers.fakes.base import Trap, VendorFake
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.openstack_answers import (
    FLAVORS,
    NETWORKS,
    PROJECT,
    REGIONS,
    TRAPS,
    image,
    keystone_fault,
    neutron_fault,
    nova_fault,
    token_answer,
    versions_answer,
    wrong_words,
)
from tests.providers.fakes.openstack_images import FakeGlance
from tests.providers.fakes.openstack_server import DELETING, NO_HOST, SCHEDULING, FakeServer

PASSWORD = "correct horse"
Handler = Callable[[Request], Awaitable[Response]]


class OpenStackFake(VendorFake):
    """The project.

    Attributes:
        servers: by id, also those that are deleted softly.
        floating: floating addresses by id.
        images: of both regions, offered to all projects.
        glance: the project's own images.
        soft_delete: whether nova keeps deleted servers for a while.
        compute_is_down: whether deletions are forgotten by nova, and never done.
        tokens: those that are valid now, with their end.
        token_life: of a new token.
        page_size: of every listing of servers.
        stale: for how long a listing lacks what was created, with that trap.
        faults_by_path: a refusal for each request of a path that a pattern finds.
    """

    name = "openstack"
    region, other_region = REGIONS
    IMAGE_TRAPS = frozenset(ImageTrap) - {ImageTrap.NEVER_STARTS, ImageTrap.REAPED}

    def __init__(self) -> None:
        super().__init__()
        self.servers: dict[str, FakeServer] = {}
        self.floating: dict[str, dict[str, Any]] = {}
        self.images = [
            image("debian-12-amd64-1", "2026-01-01", architecture="x86_64"),
            image("debian-12-arm64-1", "2026-02-01", architecture="aarch64"),
        ]
        self.glance = FakeGlance(self, self.images)
        self.soft_delete = False
        self.compute_is_down = False
        self.tokens: dict[str, datetime] = {}
        self.token_life = timedelta(hours=1)
        self.page_size = 1000
        self.stale = timedelta(seconds=0.15)
        self.faults_by_path: dict[str, Response] = {}
        self.logins = 0

    def driver(self, folder: Path) -> OpenStackDriver:
        return OpenStackDriver(
            self.settings(folder),
            settle=timedelta(seconds=0.3),
            poll=timedelta(seconds=0.02),
        )

    def settings(self, folder: Path, **location: Any) -> OpenStackSettings:
        auth = {
            "auth_url": f"{self.url}/identity",
            "username": "relight",
            "user_domain_name": "Default",
            "project_name": "fleet",
            "project_domain_name": "Default",
        }
        secret = {"clouds": {"test": {"auth": {"password": PASSWORD}}}}
        (folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"test": {"auth": auth}}}))
        (folder / "secure.yaml").write_text(yaml.safe_dump(secret))
        values = {"shapes": ("m1.small",), "image_prefix": "debian-12-", "subnet": "private"}
        return OpenStackSettings(
            clouds_file=folder / "clouds.yaml",
            secure_file=folder / "secure.yaml",
            cloud="test",
            timeout=timedelta(seconds=5),
            locations={each: LocationSettings(**(values | location)) for each in REGIONS},
        )

    def call_of(self, request: Request) -> Call | None:
        path = request.url.path
        if "/compute/" not in path or "/servers" not in path:
            return None
        if request.method == "POST":
            return Call.CREATE if path.endswith("/servers") else None
        return {"GET": Call.READ, "DELETE": Call.DESTROY}[request.method]

    def image_call_of(self, request: Request) -> Call | None:
        if "/image/" not in request.url.path or "/images" not in request.url.path:
            return None
        calls = {"POST": Call.CREATE, "GET": Call.READ, "DELETE": Call.DESTROY}
        return calls.get(request.method)

    def add_foreign_image(self, name: str, region: str) -> str:
        stored = self.glance.add(name, region, visibility="private")
        stored.status = "active"
        return str(stored.shown["id"])

    def images_named(self, name: str) -> int:
        return sum(
            each.shown["name"] == name and each.status not in {"deleted", "killed"}
            for each in self.glance.stored.values()
        )

    def use_image(self, image_id: str) -> None:
        self.glance.stored[image_id].is_needed = True

    def release_image(self, image_id: str) -> None:
        self.glance.stored[image_id].is_needed = False

    def refusal(self, fault: ProviderFault) -> Response:
        if fault is ProviderFault.TOO_MANY_REQUESTS:
            return nova_fault(429, "This request was rate-limited.")
        return nova_fault(500, "Unexpected API Error. Please report this at https://bugs.example")

    def accepted(self, request: Request) -> Response:
        return Response(status_code=204)

    def routes(self) -> Sequence[BaseRoute]:
        compute, image, network = "/{r}/compute/v2.1", "/{r}/image/v2", "/{r}/network/v2.0"
        table: Mapping[str, Mapping[str, Handler]] = {
            "/identity/v3/auth/tokens": {"POST": self._log_in},
            f"{compute}/servers": {"GET": self._index, "POST": self._create},
            f"{compute}/servers/detail": {"GET": self._detail},
            f"{compute}/servers/{{id}}": {"GET": self._show, "DELETE": self._delete},
            f"{compute}/servers/{{id}}/action": {"POST": self._action},
            f"{compute}/limits": {"GET": self._limits},
            f"{compute}/os-availability-zone": {"GET": self._zones},
            f"{compute}/flavors": {"GET": self._flavors},
            f"{compute}/flavors/detail": {"GET": self._flavors},
            f"{network}/networks": {"GET": self._networks},
            f"{network}/ports": {"GET": self._ports},
            f"{network}/floatingips": {"GET": self._addresses, "POST": self._new_address},
            f"{network}/floatingips/{{id}}": {"DELETE": self._delete_address},
            "/identity": {"GET": self._versions},
            "/identity/v3": {"GET": self._versions},
            "/{r}/compute/v2.1/": {"GET": self._versions},
            "/{r}/image/": {"GET": self._versions},
            "/{r}/network/": {"GET": self._versions},
        }
        tables = [*table.items(), *self.glance.routes(image).items()]
        return [
            Route(path, self._guarded(handler), methods=[method])
            for path, methods in tables
            for method, handler in methods.items()
        ]

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            for pattern, refusal in self.faults_by_path.items():
                if re.search(pattern, f"{request.method} {request.url.path}"):
                    return refusal
            is_open = handler in (self._log_in, self._versions)
            token = request.headers.get("X-Auth-Token", "")
            if not is_open and self.tokens.get(token, self.now()) <= self.now():
                return keystone_fault(401, "The request you have made requires authentication.")
            return await handler(request)

        return guarded

    # Keystone.

    async def _log_in(self, request: Request) -> Response:
        auth = (await request.json())["auth"]
        user = {"name": "relight", "domain": {"name": "Default"}, "password": PASSWORD}
        credential = {"id": "c-1", "secret": PASSWORD}
        accepted = (
            {"methods": ["password"], "password": {"user": user}},
            {"methods": ["application_credential"], "application_credential": credential},
        )
        if auth["identity"] not in accepted:
            return keystone_fault(401, "The request you have made requires authentication.")
        self.logins += 1
        value = f"token-{self.logins}"
        now = self.now()
        self.tokens[value] = now + self.token_life
        token = token_answer(auth["identity"]["methods"], now, self.tokens[value], self.url)
        return JSONResponse({"token": token}, 201, headers={"X-Subject-Token": value})

    async def _versions(self, request: Request) -> Response:
        return versions_answer(request)

    # Nova.

    async def _create(self, request: Request) -> Response:
        server = (await request.json())["server"]
        refusal = self._refused(request, server)
        if refusal is not None:
            return refusal
        zone = server.get("availability_zone", "")
        shapes = {FLAVORS[name]: name for name in FLAVORS}
        region = request.path_params["r"]
        created = FakeServer(server, PROJECT, region, self.now(), self.behind)
        if self.is_full(zone, shapes[server["flavorRef"]]):
            created.fails_with, created.has_host = NO_HOST, False
        elif Trap.STARTS_FAILED in self.traps:
            created.fails_with = f"Build of instance {created.id} aborted: the image is damaged"
        created.starts = Trap.NEVER_STARTS not in self.traps
        if created.has_host:
            user_data = base64.b64decode(server.get("user_data", ""))
            self.behind.create(created.id, created.name, region, user_data)
        self.servers[created.id] = created
        self.bill.begin(Billed.MACHINE, created.id, created.name, created.created_at)
        volumes = server.get("block_device_mapping_v2", ())
        if volumes and created.has_host:
            created.volume_id = str(uuid.uuid4())
            at = created.created_at + SCHEDULING
            self.bill.begin(Billed.VOLUME, created.volume_id, created.name, at)
        link = {"rel": "self", "href": f"{request.url}/{created.id}"}
        answer = {
            "id": created.id,
            "links": [link],
            "OS-DCF:diskConfig": "MANUAL",
            "security_groups": server.get("security_groups", [{"name": "default"}]),
            "adminPass": "S3cretPassw0rd",
        }
        return JSONResponse({"server": answer}, 202)

    def _refused(self, request: Request, server: Mapping[str, Any]) -> Response | None:
        trapped = next((TRAPS[trap] for trap in TRAPS if trap in self.traps), None)
        if trapped is not None:
            return nova_fault(*trapped)
        version = request.headers.get("OpenStack-API-Version", "compute 2.1")
        words = wrong_words(server, float(version.split()[1]), self._image_ids())
        return nova_fault(400, words) if words else None

    def _image_ids(self) -> set[str]:
        own = {key for key, each in self.glance.stored.items() if each.status == "active"}
        return own | {str(each["id"]) for each in self.images}

    async def _index(self, request: Request) -> Response:
        return self._page(request, lambda s: {"id": s.id, "name": s.name, "links": []})

    async def _detail(self, request: Request) -> Response:
        return self._page(request, lambda s: s.details(self.now()))

    def _page(self, request: Request, shown: Callable[[FakeServer], dict[str, Any]]) -> Response:
        query = request.query_params
        now = self.now()
        found = [
            server
            for server in self.existing(request.path_params["r"])
            if self._is_listed(server, query, now)
        ]
        if Trap.DUPLICATE_LISTING in self.traps:
            found = [server for server in found for _ in range(2)]
        start = 0
        if marker := query.get("marker"):
            at = [number for number, server in enumerate(found) if server.id == marker]
            if not at:
                return nova_fault(400, f"marker [{marker}] not found")
            start = 0 if Trap.ENDLESS_PAGES in self.traps else at[-1] + 1
        is_first = Trap.TRUNCATED_PAGE in self.traps and not start
        size = min(self.page_size, int(query.get("limit", self.page_size)), 1 if is_first else 1000)
        page = found[start : start + size]
        # Nova names a next page whenever this one is full; a proxy's address may be in the link.
        more = len(page) == size or Trap.ENDLESS_PAGES in self.traps
        links = [{"rel": "next", "href": f"http://inside.example{request.url.path}?marker=x"}]
        entries = [server.partial() if server.is_hidden else shown(server) for server in page]
        return JSONResponse({"servers": entries} | ({"servers_links": links} if more else {}))

    def _is_listed(self, server: FakeServer, query: Mapping[str, str], now: datetime) -> bool:
        is_stale = Trap.STALE_LISTING in self.traps and now - server.created_at < self.stale
        is_filtered = bool(set(query) - {"marker"})
        if is_stale or (server.is_hidden and is_filtered):
            return False
        if "name" in query and not re.search(query["name"], server.name):
            return False
        if "tags" in query and not set(query["tags"].split(",")) <= set(server.tags):
            return False
        status = server.status(now)
        if "status" in query and status != query["status"]:
            return False
        return status != "SOFT_DELETED" or "changes-since" in query

    def existing(self, region: str) -> list[FakeServer]:
        """The servers of a region, the newest first, after what time has done to them."""
        now = self.now()
        for server in [each for each in self.servers.values() if each.is_gone(now)]:
            del self.servers[server.id]
            assert server.deleted_at is not None
            self._end(server, server.deleted_at + DELETING)
        found = [each for each in self.servers.values() if each.region == region]
        return sorted(found, key=lambda each: (each.created_at, each.id), reverse=True)

    def _end(self, server: FakeServer, at: datetime) -> None:
        self.bill.end(Billed.MACHINE, server.id, at)
        if server.volume_id is not None and server.takes_volume_along:
            self.bill.end(Billed.VOLUME, server.volume_id, at)

    def _server(self, request: Request) -> FakeServer | None:
        found = self.existing(request.path_params["r"])
        return next((s for s in found if s.id == request.path_params["id"]), None)

    async def _show(self, request: Request) -> Response:
        server = self._server(request)
        if server is None:
            return nova_fault(404, f"Instance {request.path_params['id']} could not be found.")
        shown = server.partial() if server.is_hidden else server.details(self.now())
        return JSONResponse({"server": shown})

    async def _delete(self, request: Request) -> Response:
        server = self._server(request)
        if server is None:
            return nova_fault(404, "Instance could not be found")
        if server.is_locked:
            return nova_fault(409, f"Instance {server.id} is locked")
        if self.compute_is_down:
            # Nova forgets the machine, and its host goes on running it.
            del self.servers[server.id]
            return Response(status_code=204)
        has_run = server.status(self.now()) in {"ACTIVE", "SOFT_DELETED"}
        server.soft = self.soft_delete and has_run
        server.deleted_at = server.deleted_at or self.now()
        if server.has_host and not server.soft:
            server.behind.delete(server.id)
        return Response(status_code=204)

    async def _action(self, request: Request) -> Response:
        server = self._server(request)
        if server is None:
            return nova_fault(404, f"Instance {request.path_params['id']} could not be found.")
        action = await request.json()
        if "forceDelete" in action:
            server.soft, server.deleted_at = False, self.now()
            server.behind.delete(server.id)
            return Response(status_code=202)
        if server.status(self.now()) == "BUILD":
            return nova_fault(409, f"Instance {server.id} is not ready")
        return JSONResponse({"output": f"{server.name} login: "})

    async def _flavors(self, request: Request) -> Response:
        found = [{"id": FLAVORS[name], "name": name, "links": []} for name in FLAVORS]
        return JSONResponse({"flavors": found})

    async def _limits(self, request: Request) -> Response:
        used = {"totalInstancesUsed": len(self.servers), "maxTotalInstances": 10}
        limits = used | {"totalCoresUsed": 1, "maxTotalCores": -1}
        return JSONResponse({"limits": {"rate": [], "absolute": limits}})

    async def _zones(self, request: Request) -> Response:
        zones = {"a": True, "b": True, "closed": False}
        found = [
            {"zoneName": name, "zoneState": {"available": is_open}, "hosts": None}
            for name, is_open in zones.items()
        ]
        return JSONResponse({"availabilityZoneInfo": found})

    # Glance and neutron.

    async def _networks(self, request: Request) -> Response:
        name = request.query_params.get("name")
        found = [{"id": NETWORKS[n], "name": n} for n in NETWORKS if name in {None, n}]
        return JSONResponse({"networks": found})

    async def _ports(self, request: Request) -> Response:
        device = request.query_params.get("device_id")
        found = [
            {"id": f"port-{server.id}", "device_id": server.id}
            for server in self.existing(request.path_params["r"])
            if device in {None, server.id}
        ]
        return JSONResponse({"ports": found})

    async def _addresses(self, request: Request) -> Response:
        wanted = request.query_params.get("description")
        found = [a for a in self.floating.values() if wanted in {None, a["description"]}]
        return JSONResponse({"floatingips": found})

    async def _new_address(self, request: Request) -> Response:
        wanted = (await request.json())["floatingip"]
        if any(each["port_id"] == wanted["port_id"] for each in self.floating.values()):
            return neutron_fault(409, "FloatingIPPortAlreadyAssociated", "It has one already.")
        number = len(self.floating) + 1
        address = wanted | {"id": f"fip-{number}", "floating_ip_address": f"203.0.113.{number}"}
        self.floating[address["id"]] = address
        server = self.servers[wanted["port_id"].removeprefix("port-")]
        server.floating = address["floating_ip_address"]
        return JSONResponse({"floatingip": address}, 201)

    async def _delete_address(self, request: Request) -> Response:
        if self.floating.pop(request.path_params["id"], None) is None:
            return neutron_fault(404, "FloatingIPNotFound", "Floating IP could not be found.")
        return Response(status_code=204)
