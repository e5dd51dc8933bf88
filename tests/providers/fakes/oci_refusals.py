"""When Oracle Cloud Infrastructure refuses a request, and with which code and words."""

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.providers.fakes.base import Trap
from tests.providers.fakes.oci_account import FAULT_DOMAINS, OciAccount

MAX_METADATA_BYTES = 32_000
MAX_SKEW = timedelta(minutes=5)

_SIGNED = {"date", "(request-target)", "host"}
_SIGNED_OF_BODY = {"content-length", "content-type", "x-content-sha256"}
_PART = re.compile(r'(\w+)="([^"]*)"')


class RefusedError(Exception):
    """An error as the vendor answers it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    @property
    def response(self) -> Response:
        return JSONResponse({"code": self.code, "message": self.message}, self.status)


NOT_AUTHENTICATED = RefusedError(
    401,
    "NotAuthenticated",
    "The required information to complete authentication was not provided or was incorrect.",
)


def not_found() -> RefusedError:
    return RefusedError(
        404, "NotAuthorizedOrNotFound", "Authorization failed or requested resource not found."
    )


def is_signed(
    request: Request, body: bytes, key_id: str, public_key: RSAPublicKey, now: datetime
) -> bool:
    """Whether a request is signed by the key, over a date that is near enough."""
    parts = dict(_PART.findall(request.headers.get("authorization", "")))
    if (parts.get("keyId"), parts.get("algorithm")) != (key_id, "rsa-sha256"):
        return False
    names = parts["headers"].split()
    required = _SIGNED
    if request.method in {"POST", "PUT"}:
        required = required | _SIGNED_OF_BODY
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if request.headers.get("x-content-sha256") != digest:
            return False
    if not required <= set(names):
        return False
    if abs(parsedate_to_datetime(request.headers["date"]) - now) > MAX_SKEW:
        return False
    query = request.scope["query_string"].decode()
    path = request.scope["raw_path"].decode() + (f"?{query}" if query else "")
    values = {"(request-target)": f"{request.method.lower()} {path}", **request.headers}
    text = "\n".join(f"{name}: {values[name]}" for name in names)
    try:
        signature = base64.b64decode(parts["signature"])
        public_key.verify(signature, text.encode(), PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def require_valid(account: OciAccount, region: str, details: Mapping[str, Any], token: str) -> None:
    """Check the body of a launch."""
    if Trap.INVALID in account.traps:
        raise RefusedError(400, "InvalidParameter", "A parameter is invalid")
    for name in ("availabilityDomain", "compartmentId", "shape", "sourceDetails"):
        if not details.get(name):
            raise RefusedError(400, "MissingParameter", f"Missing value for {name}")
    if details["compartmentId"] != account.compartment:
        raise not_found()
    zone = details["availabilityDomain"]
    domain = details.get("faultDomain", FAULT_DOMAINS[0])
    if zone not in account.zones(region) or domain not in FAULT_DOMAINS:
        raise RefusedError(400, "InvalidParameter", f"Invalid availabilityDomain {zone}")
    image = account.images.get(details["sourceDetails"].get("imageId", ""))
    subnet = details.get("createVnicDetails", {}).get("subnetId")
    if image is None or image.region != region or subnet != account.subnet(region):
        raise RefusedError(
            400,
            "RelatedResourceNotAuthorizedOrNotFound",
            "Image or subnet not found, or you do not have authorization to access it",
        )
    shape = details["shape"]
    if shape not in image.shapes:
        raise RefusedError(400, "InvalidParameter", f"Shape {shape} is not valid for image")
    if shape.endswith(".Flex") and "ocpus" not in details.get("shapeConfig", {}):
        raise RefusedError(400, "InvalidParameter", f"{shape} needs a shapeConfig")
    _require_sizes(details, token)


def _require_sizes(details: Mapping[str, Any], token: str) -> None:
    metadata = details.get("metadata", {})
    if len(json.dumps(metadata, separators=(",", ":"))) > MAX_METADATA_BYTES:
        raise RefusedError(400, "InvalidParameter", "Metadata is larger than 32000 bytes")
    try:
        base64.b64decode(metadata.get("user_data", ""), validate=True)
    except binascii.Error:
        raise RefusedError(400, "InvalidParameter", "user_data is not base64") from None
    tags = details.get("freeformTags", {})
    if any(len(name) > 100 or len(value) > 256 for name, value in tags.items()):
        raise RefusedError(400, "InvalidParameter", "A tag is too long")
    if len(token) > 64:
        raise RefusedError(400, "InvalidParameter", "opc-retry-token is longer than 64")


def require_room(account: OciAccount, details: Mapping[str, Any]) -> None:
    """Check the limits of the account, and whether a host has room."""
    shape, zone = details["shape"], details["availabilityDomain"]
    if Trap.QUOTA in account.traps or account.alive(shape) >= account.limits.get(shape, math.inf):
        raise RefusedError(
            400,
            "LimitExceeded",
            f"The following service limits were exceeded: {shape.lower()}-count. Request a "
            "service limit increase from the service limits page in the console.",
        )
    domain = details.get("faultDomain")
    if account.is_full(zone, shape) or account.is_full(f"{zone}/{domain}", shape):
        raise RefusedError(500, "InternalError", "Out of host capacity.")
