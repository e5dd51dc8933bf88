"""Oracle Cloud Infrastructure's Compute API in memory, with the vendor's traps.

Regions have an endpoint each: here the first part of the path is the region. Every request must be
signed with the account's API key, over a date that is not off by more than five minutes.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.images import ImageTrap
from relight.providers.oci.driver import OciDriver
from relight.providers.oci.settings import OciSettings
from tests.providers.fakes.base import Trap
from tests.providers.fakes.oci_account import (
    FAULT_DOMAINS,
    FINGERPRINT,
    FIXED,
    FLEX,
    FRANKFURT,
    KEY_ID,
    PHOENIX,
    SHAPES,
    TENANCY,
    USER,
    Instance,
    OciAccount,
    api_key,
    payload_of,
    pem,
    time_text,
)
from tests.providers.fakes.oci_images import NAMESPACE, FakeImages
from tests.providers.fakes.oci_network import attachments, subnet, vnic
from tests.providers.fakes.oci_refusals import (
    NOT_AUTHENTICATED,
    RefusedError,
    is_signed,
    not_found,
    require_room,
    require_valid,
)

VERSION = "20160918"

REGION_CODES = {"us-phoenix-1": "phx"}
"""The oldest regions have a code in place of their name in answers."""

Answer = Callable[[Request, Mapping[str, Any]], Response]


class OciFake(OciAccount):
    """The API of one account, which knows one API key.

    Attributes:
        page_size: how many items a page has at most.
        forbidden: the operations that the user's policies do not permit; `get_vnic ID` is about one
            thing.
        offered: the shapes of every zone.
    """

    name = OciDriver.name
    region, other_region = FRANKFURT, PHOENIX
    IMAGE_TRAPS = frozenset(ImageTrap) - {ImageTrap.REAPED, ImageTrap.UNREADABLE_VISIBILITY}
    images_can_be_needed = False

    def __init__(self) -> None:
        super().__init__()
        self.made_images = FakeImages(self)
        self.page_size = 100
        self.forbidden: set[str] = set()
        self.offered: tuple[str, ...] = (FLEX, FIXED)
        for region in self.regions:
            self.add_image(region, "relight-base-20260101", (FLEX, FIXED))

    def settings(self, folder: Path, **location: Any) -> OciSettings:
        """Return settings with which the driver reaches this fake; a location's own ones count."""
        key_file = folder / "oci-api-key.pem"
        key_file.write_bytes(pem())
        offered = {"shapes": SHAPES, "image_prefix": "relight-base-"}
        return OciSettings.model_validate(
            {
                "url": f"{self.url}/{{region}}",
                "storage_url": f"{self.url}/{{region}}/storage",
                "timeout": "10s",
                "tenancy": TENANCY,
                "user": USER,
                "fingerprint": FINGERPRINT,
                "key_file": key_file,
                "compartment": self.compartment,
                "locations": {
                    region: {
                        "zones": self.zones(region)[:2],
                        "subnet": self.subnet(region),
                        **offered,
                        **location,
                    }
                    for region in self.regions
                },
            }
        )

    def driver(self, folder: Path, **location: Any) -> OciDriver:
        settings = self.settings(folder, **location)
        return OciDriver(settings, now=self.now, poll=timedelta(milliseconds=5))

    def routes(self) -> Sequence[Route]:
        calls: dict[tuple[str, str], Answer] = {
            ("GET", "/instances"): self._list_instances,
            ("POST", "/instances"): self._launch_instance,
            ("GET", "/instances/{id}"): self._get_instance,
            ("DELETE", "/instances/{id}"): self._terminate_instance,
            ("GET", "/vnicAttachments"): self._list_vnic_attachments,
            ("GET", "/vnics/{id}"): self._get_vnic,
            ("GET", "/images"): self._list_images,
            ("POST", "/images"): self._create_image,
            ("GET", "/images/{id}"): self._get_image,
            ("DELETE", "/images/{id}"): self._delete_image,
            ("GET", "/images/{id}/shapes"): self._list_image_shapes,
            ("PUT", "/images/{id}/shapes/{shape}"): self._add_image_shape,
            ("GET", "/workRequests"): self._list_work_requests,
            ("GET", "/workRequests/{id}/errors"): self._list_work_request_errors,
            ("GET", "/shapes"): self._list_shapes,
            ("GET", "/subnets/{id}"): self._get_subnet,
            ("POST", "/instanceConsoleHistories"): self._capture_console,
            ("GET", "/instanceConsoleHistories/{id}"): self._get_history,
            ("GET", "/instanceConsoleHistories/{id}/data"): self._get_history_data,
            ("DELETE", "/instanceConsoleHistories/{id}"): self._delete_history,
        }
        namespace = Route("/{region}/storage/n", self._signed(self._get_namespace))
        return [
            namespace,
            *(
                Route(f"/{{region}}/{VERSION}{path}", self._signed(answer), methods=[method])
                for (method, path), answer in calls.items()
            ),
        ]

    def call_of(self, request: Request) -> Call:
        if "/instances" not in request.url.path:
            return Call.READ
        return {"POST": Call.CREATE, "DELETE": Call.DESTROY}.get(request.method, Call.READ)

    def image_call_of(self, request: Request) -> Call | None:
        if not re.search(r"/images(/[^/]+)?$", request.url.path):
            return None
        return {"POST": Call.CREATE, "DELETE": Call.DESTROY}.get(request.method, Call.READ)

    def add_foreign_image(self, name: str, region: str) -> str:
        return self.add_image(region, name, (FLEX, FIXED))

    def images_named(self, name: str) -> int:
        return sum(each.name == name and each.state != "DELETED" for each in self.images.values())

    def refusal(self, fault: ProviderFault) -> Response:
        if fault is ProviderFault.TOO_MANY_REQUESTS:
            return RefusedError(429, "TooManyRequests", "Too many requests for the user").response
        return RefusedError(
            500, "InternalServerError", "An internal server error occurred."
        ).response

    def accepted(self, request: Request) -> Response:
        return Response(status_code=204)

    def _signed(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def signed(request: Request) -> Response:
            body = await request.body()
            try:
                if not is_signed(request, body, KEY_ID, api_key().public_key(), self.now()):
                    raise NOT_AUTHENTICATED
                self._authorize(request, answer.__name__.removeprefix("_"))
                response = answer(request, json.loads(body) if body else {})
            except RefusedError as error:
                response = error.response
            response.headers["opc-request-id"] = "0123456789ABCDEF"
            return response

        return signed

    def _authorize(self, request: Request, operation: str) -> None:
        about = f"{operation} {request.path_params.get('id')}"
        if Trap.NO_PERMISSION in self.traps or self.forbidden & {operation, about}:
            raise not_found()
        if request.path_params["region"] not in self.regions:
            raise RefusedError(404, "NotFound", "There is no such region here")

    # Instances

    def _launch_instance(self, request: Request, details: Mapping[str, Any]) -> Response:
        region = request.path_params["region"]
        token = request.headers.get("opc-retry-token", "")
        require_valid(self, region, details, token)
        known = self.known_token(region, token) if token else None
        if known is not None:
            if known.payload != payload_of(details) or known.instance.is_purged(self.now()):
                raise RefusedError(
                    409,
                    "InvalidatedRetryToken",
                    "The provided retry token was used in an earlier request that resulted in a "
                    "system update, but a subsequent operation invalidated the token.",
                )
            return JSONResponse(self._shown(known.instance))
        require_room(self, details)
        return JSONResponse(self._shown(self.launch(region, details, token)))

    def _list_instances(self, request: Request, _: Mapping[str, Any]) -> Response:
        query = self._list_query(request, "displayName", "lifecycleState", "sortBy", "sortOrder")
        found = [self._shown(each) for each in self.listed(request.path_params["region"])]
        for name in ("displayName", "lifecycleState"):
            if name in query:
                found = [each for each in found if each[name] == query[name]]
        return self._page(query, found)

    def _get_instance(self, request: Request, _: Mapping[str, Any]) -> Response:
        return JSONResponse(self._shown(self._instance(request)))

    def _terminate_instance(self, request: Request, _: Mapping[str, Any]) -> Response:
        instance = self._instance(request)
        match instance.state(self.now()):
            case "TERMINATED":
                raise not_found()
            case "TERMINATING":
                raise RefusedError(
                    409, "IncorrectState", f"instance {instance.id} is already being terminated"
                )
        keeps = request.query_params.get("preserveBootVolume", "false") == "true"
        self.terminate(instance, keeps_volume=keeps)
        return Response(status_code=204)

    def _instance(self, request: Request) -> Instance:
        found = self.instances.get(request.path_params["id"])
        here = found is not None and found.region == request.path_params["region"]
        if found is None or not here or found.is_purged(self.now()):
            raise not_found()
        return found

    def _shown(self, instance: Instance) -> dict[str, Any]:
        details = instance.details
        return {
            "id": instance.id,
            "availabilityDomain": details["availabilityDomain"],
            "compartmentId": details["compartmentId"],
            "displayName": details.get("displayName", f"instance-{instance.number}"),
            "faultDomain": details.get("faultDomain", FAULT_DOMAINS[instance.number % 3]),
            "freeformTags": details.get("freeformTags", {}),
            "definedTags": {"Oracle-Tags": {"CreatedBy": "fleet"}},
            "lifecycleState": instance.state(self.now()),
            "metadata": details.get("metadata", {}),
            "extendedMetadata": {},
            "region": REGION_CODES.get(instance.region, instance.region),
            "shape": details["shape"],
            "shapeConfig": details.get("shapeConfig", {"ocpus": 1.0, "memoryInGBs": 1.0}),
            "sourceDetails": details["sourceDetails"],
            "systemTags": {},
            "timeCreated": time_text(instance.created_at),
        }

    # Addresses

    def _list_vnic_attachments(self, request: Request, _: Mapping[str, Any]) -> Response:
        query = self._list_query(request, "instanceId", "vnicId")
        region = request.path_params["region"]
        return self._page(query, attachments(self, region, query.get("instanceId")))

    def _get_vnic(self, request: Request, _: Mapping[str, Any]) -> Response:
        return JSONResponse(vnic(self, request.path_params["id"]))

    def _get_subnet(self, request: Request, _: Mapping[str, Any]) -> Response:
        return JSONResponse(subnet(self, request.path_params["region"], request.path_params["id"]))

    # Images

    def _list_images(self, request: Request, _: Mapping[str, Any]) -> Response:
        query = self._list_query(
            request, "shape", "displayName", "lifecycleState", "sortBy", "sortOrder"
        )
        found = self.made_images.listed(request.path_params["region"], query)
        newest_first = query.get("sortOrder", "DESC") == "DESC"
        found.sort(key=lambda each: str(each["timeCreated"]), reverse=newest_first)
        return self._page(query, found)

    def _create_image(self, request: Request, details: Mapping[str, Any]) -> Response:
        token = request.headers.get("opc-retry-token", "")
        region = request.path_params["region"]
        return JSONResponse(self.made_images.create(region, details, token))

    def _get_image(self, request: Request, _: Mapping[str, Any]) -> Response:
        region, image_id = request.path_params["region"], request.path_params["id"]
        return JSONResponse(self.made_images.get(region, image_id))

    def _delete_image(self, request: Request, _: Mapping[str, Any]) -> Response:
        self.made_images.delete(request.path_params["region"], request.path_params["id"])
        return Response(status_code=204)

    def _list_image_shapes(self, request: Request, _: Mapping[str, Any]) -> Response:
        image_id = request.path_params["id"]
        image = self.made_images.image(request.path_params["region"], image_id)
        return JSONResponse([{"imageId": image_id, "shape": each} for each in image.shapes])

    def _add_image_shape(self, request: Request, _: Mapping[str, Any]) -> Response:
        region, image_id = request.path_params["region"], request.path_params["id"]
        return JSONResponse(self.made_images.fit(region, image_id, request.path_params["shape"]))

    def _list_work_requests(self, request: Request, _: Mapping[str, Any]) -> Response:
        query = self._list_query(request, "resourceId")
        return self._page(query, self.made_images.work_requests(query["resourceId"]))

    def _list_work_request_errors(self, request: Request, _: Mapping[str, Any]) -> Response:
        return JSONResponse(self.made_images.errors(request.path_params["id"]))

    def _get_namespace(self, request: Request, _: Mapping[str, Any]) -> Response:
        return JSONResponse(NAMESPACE)

    def _list_shapes(self, request: Request, _: Mapping[str, Any]) -> Response:
        query = self._list_query(request, "imageId")
        region = request.path_params["region"]
        zone = query.get("availabilityDomain", self.zones(region)[0])
        if zone not in self.zones(region):
            raise RefusedError(400, "InvalidParameter", f"Invalid availabilityDomain {zone}")
        shown = [
            {"shape": each, "isFlexible": each.endswith(".Flex"), "ocpus": 1.0, "memoryInGBs": 8.0}
            for each in self.offered
        ]
        return self._page(query, shown)

    # Console

    def _capture_console(self, request: Request, details: Mapping[str, Any]) -> Response:
        instance = self.instances.get(details.get("instanceId", ""))
        if instance is None or instance.region != request.path_params["region"]:
            raise not_found()
        if instance.state(self.now()) != "RUNNING":
            raise RefusedError(409, "IncorrectState", "The instance is not running")
        number = len(self.histories) + 1
        history = {
            "id": f"ocid1.consolehistory.oc1.{instance.region}.{number}",
            "availabilityDomain": instance.details["availabilityDomain"],
            "compartmentId": self.compartment,
            "instanceId": instance.id,
            "lifecycleState": "REQUESTED",
            "timeCreated": time_text(self.now()),
        }
        self.histories[history["id"]] = history
        return JSONResponse(history)

    def _get_history(self, request: Request, _: Mapping[str, Any]) -> Response:
        history = self._history(request)
        shown = JSONResponse(history)
        steps = {"REQUESTED": "GETTING-HISTORY", "GETTING-HISTORY": "SUCCEEDED"}
        history["lifecycleState"] = steps.get(history["lifecycleState"], history["lifecycleState"])
        return shown

    def _get_history_data(self, request: Request, _: Mapping[str, Any]) -> Response:
        history = self._history(request)
        if history["lifecycleState"] != "SUCCEEDED":
            raise RefusedError(409, "IncorrectState", "The capture has not ended")
        instance = self.instances[history["instanceId"]]
        text = f"[    0.000000] Linux\r\n{instance.details['displayName']} login: ".encode()
        length = int(request.query_params.get("length", "10240"))
        left = str(max(len(text) - length, 0))
        headers = {"opc-bytes-remaining": left}
        return Response(text[:length], media_type="text/plain", headers=headers)

    def _delete_history(self, request: Request, _: Mapping[str, Any]) -> Response:
        del self.histories[self._history(request)["id"]]
        return Response(status_code=204)

    def _history(self, request: Request) -> dict[str, Any]:
        history = self.histories.get(request.path_params["id"])
        if history is None:
            raise not_found()
        return history

    # Lists

    def _list_query(self, request: Request, *names: str) -> dict[str, str]:
        query = dict(request.query_params)
        unknown = set(query) - {"compartmentId", "limit", "page", "availabilityDomain", *names}
        if unknown:
            raise RefusedError(400, "InvalidParameter", f"unknown parameters: {unknown}")
        if query.get("compartmentId") != self.compartment:
            raise not_found()
        return query

    def _page(self, query: Mapping[str, str], items: Sequence[dict[str, Any]]) -> Response:
        start = int(query.get("page", "page-0").removeprefix("page-"))
        end = start + min(int(query.get("limit", self.page_size)), self.page_size)
        if Trap.TRUNCATED_PAGE in self.traps and start == 0:
            # A page may have fewer items than were asked for, though more of them follow.
            end = 1
        next_page = start if Trap.ENDLESS_PAGES in self.traps else end
        more = next_page < len(items)
        headers = {"opc-next-page": f"page-{next_page}"} if more else {}
        return JSONResponse(list(items[start:end]), headers=headers)
