"""Gcore's API in memory.

Written from Gcore's OpenAPI document and its page on errors. Where these say nothing, the worst was
taken for a driver: names are not unique, tasks wait, and a volume outlives its instance.
"""

import base64
import binascii
import itertools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from devkit.chaos.provider_faults import Call, ProviderFault
from relight.providers.gcore.creation import GcoreSettings
from relight.providers.gcore.driver import GcoreDriver
from tests.providers.fakes.base import Trap
from tests.providers.fakes.gcore_images import GcoreImages
from tests.providers.fakes.gcore_project import TaskTrap
from tests.providers.fakes.gcore_state import (
    CLIENT,
    FLAVORS,
    PROJECT,
    REGIONS,
    Instance,
    RefusedError,
    Volume,
    not_found,
    shown_flavors,
    shown_project,
    shown_region,
)

API_KEY = "4242$8fd3c0ffee"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z 0-9._\-]{1,61}[a-zA-Z0-9._]")
_TAG = re.compile(r"[^\s=]{3,255}")
_CALLS = {"GET": Call.READ, "POST": Call.CREATE, "DELETE": Call.DESTROY}


class FakeGcore(GcoreImages):
    """The API of one project. A task takes one step at each request, once its time has come.

    Attributes:
        instead: what is answered to a method and a path instead of its own answer: status and body.
    """

    name = "gcore"
    region = "luxembourg-2"
    has_console = False

    def __init__(self, regions: Iterable[int] = REGIONS) -> None:
        super().__init__(regions)
        self.instead: dict[tuple[str, str], tuple[int, Any]] = {}

    def settings(self, folder: Path, key: str = API_KEY, **values: Any) -> GcoreSettings:
        """Return the settings of a driver over this fake, with a key file in the folder."""
        key_file = folder / "gcore.key"
        key_file.write_text(f"{key}\n")
        amd64 = {"shapes": ["g2-standard-2-4", "g2-standard-4-8"], "image_prefix": "relight-base-"}
        arm64 = {"shapes": ["g2a-ampere-2-4"], "image_prefix": "relight-base-"}
        locations = {
            self.region: {**amd64, "extra": {"region_id": 76}},
            "frankfurt-2": {**arm64, "architecture": "arm64", "extra": {"region_id": 180}},
        }
        given = {"api_key_file": key_file, "project_id": PROJECT, "url": self.url}
        return GcoreSettings.model_validate(
            {**given, "timeout": timedelta(seconds=5), "locations": locations, **values}
        )

    def driver(self, folder: Path) -> GcoreDriver:
        poll = timedelta(milliseconds=5)
        wait = timedelta(seconds=0.2)
        return GcoreDriver(self.settings(folder), poll=poll, wait=wait)

    # ------------------------------------------------------------------ what a test does

    def posted(self) -> list[Any]:
        """Return the bodies of all creations that came."""
        return [json.loads(each.body) for each in self.received if each.method == "POST"]

    # ------------------------------------------------------------------ the vendor's manner

    def call_of(self, request: Request) -> Call:
        return _CALLS[request.method]

    def refusal(self, fault: ProviderFault) -> Response:
        if fault is ProviderFault.TOO_MANY_REQUESTS:
            return self._refused(RefusedError(429, "RateLimitError", "Rate limit exceeded"))
        return self._refused(RefusedError(500, "HTTPError", "HTTP 500: Internal Server Error"))

    def accepted(self, request: Request) -> Response:
        return JSONResponse(self.begin(self.task(76, "delete_vm")))

    def routes(self) -> Sequence[BaseRoute]:
        def route(path: str, handler: Callable[[Request], Any], method: str = "GET") -> Route:
            return Route(f"/cloud/{path}", self._answers(handler), methods=[method])

        place = "{project:int}/{region:int}"
        return [
            route(f"v2/instances/{place}", self._create, "POST"),
            route(f"v1/instances/{place}", self._list_instances),
            route(f"v1/instances/{place}/{{id}}", self._get_instance),
            route(f"v1/instances/{place}/{{id}}", self._delete, "DELETE"),
            route(f"v1/images/{place}", self._list_images),
            route(f"v1/images/{place}/{{id}}", self._get_image),
            route(f"v1/images/{place}/{{id}}", self._delete_image, "DELETE"),
            route(f"v1/downloadimage/{place}", self._import_image, "POST"),
            route(f"v1/volumes/{place}", self._list_volumes),
            route(f"v1/volumes/{place}/{{id}}", lambda request: self._volume(request).shown()),
            route(f"v1/volumes/{place}/{{id}}", self._delete_volume, "DELETE"),
            route("v1/projects/{project:int}", lambda request: shown_project()),
            route("v1/regions", lambda r: self.page(r, [shown_region(each) for each in REGIONS])),
            route("v1/regions/{region:int}", lambda r: shown_region(r.path_params["region"])),
            route(f"v1/flavors/{place}", lambda request: self.page(request, shown_flavors())),
            route("v2/regional_quotas/{client:int}/{region:int}", self._quotas),
            route("v1/tasks", self._list_tasks),
            route("v1/tasks/{id}", self._get_task),
        ]

    def _answers(self, handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            instead = self.instead.get((request.method, request.url.path))
            if instead is not None:
                return JSONResponse(instead[1], instead[0])
            request.state.body = await request.body()
            for task in self.tasks.values():
                self.step(task)
            try:
                self._check(request)
                return JSONResponse(handler(request))
            except RefusedError as refused:
                return self._refused(refused)

        return answer

    def _refused(self, refused: RefusedError) -> Response:
        request_id = f"{next(self._numbers):032x}"
        return JSONResponse({**refused.body, "request_id": request_id}, refused.status)

    def _check(self, request: Request) -> None:
        given = request.headers.get("Authorization", "")
        if not given:
            words = "Authentication credentials were not provided."
            raise RefusedError(401, "not_authenticated", words)
        if not given.startswith("APIKey "):
            words = "Given token not valid for any token type"
            raise RefusedError(401, "token_not_valid", words)
        key = given.removeprefix("APIKey ")
        if key != API_KEY and API_KEY.startswith(key):
            raise RefusedError(401, "not_authenticated", f"Bad permanent token: {key}")
        if key != API_KEY:
            raise RefusedError(401, "token_not_valid", "Token is invalid or expired")
        if Trap.NO_PERMISSION in self.traps:
            raise RefusedError(403, "", "You do not have permission to perform this action.")
        if request.path_params.get("project", PROJECT) != PROJECT:
            raise not_found("Project", request.path_params["project"])
        if request.path_params.get("region", self.regions[0]) not in self.regions:
            raise not_found("Region", request.path_params["region"])

    # ------------------------------------------------------------------ creations and deletions

    def _create(self, request: Request) -> Any:
        region, body = request.path_params["region"], json.loads(request.state.body)
        if Trap.INVALID in self.traps:
            words = "Following name templates are not allowed for this client: ['my-vm']"
            raise RefusedError(400, "ValidationError", words)
        user_data = _checked(body)
        flavor, image = body["flavor"], body["volumes"][0]["image_id"]
        if flavor not in FLAVORS:
            raise not_found("Flavor", flavor)
        if image not in {each.id for each in self.images if each.region == region}:
            raise not_found("Image", image)
        if self.is_full("", flavor) and TaskTrap.FULL_AT_ONCE in self.task_traps:
            words = f"The region {region} has reached the limit of flavor {flavor}"
            raise RefusedError(403, "ForbiddenError", words)
        if Trap.QUOTA in self.traps:
            info = {"attribute": "volume_size", "current_usage": 20, "limit": 50}
            words = "Quota limit for volume_size exceeded by 70"
            raise RefusedError(403, "QuotaLimitExceed", words, info=info)
        task = self.creation(region, body, None if "password" in body else user_data)
        task.never_starts = Trap.NEVER_STARTS in self.traps
        return self.begin(task)

    def _delete(self, request: Request) -> Any:
        instance = self._instance(request)
        if instance.task is not None:
            words = f"Instance {instance.id} is locked by task {instance.task}"
            raise RefusedError(409, "ConflictError", words)
        volumes = request.query_params.get("volumes", "").split(",")
        task = self.deletion(instance, volumes)
        instance.task = task.id
        return self.begin(task)

    def _delete_volume(self, request: Request) -> Any:
        volume = self._volume(request)
        if volume.instance is not None:
            raise RefusedError(409, "ConflictError", f"Volume {volume.id} is in use")
        return self.begin(self.volume_deletion(volume))

    def _volume(self, request: Request) -> Volume:
        volume = self.volumes.get(request.path_params["id"])
        if volume is None or volume.region != request.path_params["region"]:
            raise not_found("Volume", request.path_params["id"])
        return volume

    # ------------------------------------------------------------------ listings

    def _list_instances(self, request: Request) -> Any:
        query = request.query_params
        found = sorted(self.instances.values(), key=lambda each: each.created)
        if Trap.STALE_LISTING in self.traps:
            found = found[:-1]
        if query.get("order_by", "created.desc") == "created.desc":
            found.reverse()
        found = [
            each
            for each in found
            if each.region == request.path_params["region"]
            and query.get("name", "").lower() in each.name.lower()
            and query.get("uuid", "") in each.id
            and _has_tags(request, each.tags)
            for _ in range(2 if Trap.DUPLICATE_LISTING in self.traps else 1)
        ]
        return self.page(request, [each.shown(self.volumes) for each in found])

    def _get_instance(self, request: Request) -> Any:
        return self._instance(request).shown(self.volumes)

    def _instance(self, request: Request) -> Instance:
        instance = self.instances.get(request.path_params["id"])
        if instance is None or instance.region != request.path_params["region"]:
            raise not_found("Instance", request.path_params["id"])
        return instance

    def _list_volumes(self, request: Request) -> Any:
        found = [
            each.shown()
            for each in self.volumes.values()
            if each.region == request.path_params["region"] and _has_tags(request, each.tags)
        ]
        return self.page(request, found)

    def _list_tasks(self, request: Request) -> Any:
        query = request.query_params
        regions, since = query.getlist("region_id"), query.get("from_timestamp")
        found = [
            each
            for each in self.tasks.values()
            if query.get("task_type", each.type) == each.type
            and (not regions or str(each.region) in regions)
            and (since is None or each.created >= datetime.fromisoformat(since))
            and query.get("project_id", str(PROJECT)) == str(PROJECT)
        ]
        found.sort(key=lambda each: each.created, reverse=query.get("order_by") != "asc")
        hidden = {"data": None} if TaskTrap.NAMELESS in self.task_traps else {}
        return self.page(request, [each.shown() | hidden for each in found], default=10)

    def _quotas(self, request: Request) -> Any:
        if request.path_params["client"] != CLIENT:
            raise not_found("Client", request.path_params["client"])
        here = [
            each for each in self.instances.values() if each.region == request.path_params["region"]
        ]
        return {"vm_count_limit": 10, "vm_count_usage": len(here), "baremetal_gpu_count_limit": 0}

    def _get_task(self, request: Request) -> Any:
        task = self.tasks.get(request.path_params["id"])
        if task is None:
            raise not_found("Task", request.path_params["id"])
        return task.shown()


def _checked(body: dict[str, Any]) -> bytes:
    """Return the user-data of a creation that the API's document allows."""
    required = ("interfaces", "volumes", "flavor")
    invalid = {name: ["Field required"] for name in required if not body.get(name)}
    if not _NAME.fullmatch(body.get("name", "")):
        invalid["name"] = ["String should match pattern"]
    for tags in (body.get("tags", {}), *(each.get("tags", {}) for each in body["volumes"])):
        for text in itertools.chain(*tags.items()):
            if not _TAG.fullmatch(text):
                invalid["tags"] = [f"{text!r} is no tag"]
    user_data = b""
    try:
        user_data = base64.b64decode(body.get("user_data", ""), validate=True)
    except binascii.Error:
        invalid["user_data"] = ["Invalid base64"]
    if invalid:
        words = f"Validation Error: {invalid}"
        raise RefusedError(400, "ValidationError", words, invalid_fields=invalid)
    return user_data


def _has_tags(request: Request, tags: dict[str, str]) -> bool:
    wanted = json.loads(request.query_params.get("tag_key_value", "{}"))
    return all(tags.get(key) == value for key, value in wanted.items())
