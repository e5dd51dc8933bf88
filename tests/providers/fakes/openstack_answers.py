"""What the services of the fake OpenStack answer, apart from its state."""

import base64
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.providers.fakes.base import Trap

PROJECT = "9a4c1b2f0d6e4c7f8a3b5c6d7e8f9a0b"
REGIONS = ("north", "south")
FLAVORS = {"m1.small": "f-1", "m1.large": "f-2"}
NETWORKS = {
    "private": "11111111-0000-4000-8000-000000000001",
    "public": "11111111-0000-4000-8000-000000000002",
}
MAX_USER_DATA = 65_535

_CREATE_KEYS = {
    *("name", "flavorRef", "imageRef", "metadata", "tags", "user_data", "networks"),
    *("availability_zone", "security_groups", "config_drive", "block_device_mapping_v2"),
    *("min_count", "max_count", "adminPass", "key_name", "OS-DCF:diskConfig"),
}
_PATHS = {"compute": "compute/v2.1", "image": "image", "network": "network"}
_TAGS_SINCE = 2.52
TRAPS = {
    Trap.NO_PERMISSION: (
        403,
        "Policy doesn't allow os_compute_api:servers:create to be performed.",
    ),
    Trap.QUOTA: (
        403,
        "Quota exceeded for instances: Requested 1, but already used 9 of 9 instances",
    ),
    Trap.INVALID: (400, "Can not find requested image"),
}
_INSIDE = "http://inside.example"

_FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def image(name: str, created: str, **properties: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name + created)),
        "name": name,
        "status": "active",
        "visibility": "public",
        "created_at": f"{created}T00:00:00Z",
        **properties,
    }


def nova_fault(status: int, message: str) -> JSONResponse:
    name = _FAULT_NAMES.get(status, "computeFault")
    return JSONResponse({name: {"code": status, "message": message}}, status)


def neutron_fault(status: int, kind: str, message: str) -> JSONResponse:
    return JSONResponse({"NeutronError": {"type": kind, "message": message, "detail": ""}}, status)


def keystone_fault(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": status, "message": message, "title": ""}}, status)


def wrong_words(server: Mapping[str, Any], version: float, images: Collection[str]) -> str:
    """Nova's words for what is wrong in a creation; empty if nothing is."""
    user_data = server.get("user_data", "")
    devices = server.get("block_device_mapping_v2", [{}])
    tags = server.get("tags", ())
    wrong = {
        "Additional properties are not allowed": set(server) - _CREATE_KEYS
        or ("tags" in server and version < _TAGS_SINCE),
        f"Invalid input for field/attribute user_data. Value: {user_data}. {user_data!r} is too "
        "long": len(user_data) > MAX_USER_DATA,
        f"Flavor {server['flavorRef']} could not be found.": server["flavorRef"]
        not in FLAVORS.values(),
        "Can not find requested image": server.get("imageRef", devices[0].get("uuid"))
        not in images,
        "Tag is wrong": any(len(tag) > 60 or "/" in tag or "," in tag for tag in tags),
    }
    base64.b64decode(user_data, validate=True)
    return next((words for words, is_so in wrong.items() if is_so), "")


def token_answer(
    methods: Sequence[str], issued_at: datetime, expires_at: datetime, url: str
) -> dict[str, Any]:
    domain = {"id": "default", "name": "Default"}
    return {
        "methods": methods,
        "user": {"id": "u-1", "name": "relight", "domain": domain},
        "project": {"id": PROJECT, "name": "fleet", "domain": domain},
        "roles": [{"id": "r-1", "name": "member"}],
        "issued_at": f"{issued_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "expires_at": f"{expires_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "catalog": [
            {
                "type": kind,
                "name": kind,
                "id": kind,
                "endpoints": [
                    {
                        "id": f"{kind}-{region}-{interface}",
                        "interface": interface,
                        "region": region,
                        "region_id": region,
                        "url": f"{base}/{region}/{path}",
                    }
                    for region in REGIONS
                    for interface, base in {
                        "internal": "http://inside.example",
                        "public": url,
                    }.items()
                ],
            }
            for kind, path in _PATHS.items()
        ],
    }


def versions_answer(request: Request) -> JSONResponse:
    """What the SDK asks before it uses a service."""
    path = request.url.path
    here = {"rel": "self", "href": str(request.url)}
    if path == "/identity":
        link = {"rel": "self", "href": f"{request.url}/v3/"}
        version = {"id": "v3.14", "status": "stable", "links": [link]}
        return JSONResponse({"versions": {"values": [version]}}, 300)
    if "/identity" in path:
        return JSONResponse({"version": {"id": "v3.14", "status": "stable", "links": [here]}})
    if "/compute" in path:
        version = {"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1"}
        return JSONResponse({"version": version | {"links": [here]}})
    number, folder = ("v2.0", "v2.0") if "/network" in path else ("v2.15", "v2")
    below = {"rel": "self", "href": f"{request.url}{folder}/"}
    return JSONResponse({"versions": [{"id": number, "status": "CURRENT", "links": [below]}]})
