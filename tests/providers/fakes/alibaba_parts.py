"""What Alibaba Cloud ECS has, checks and answers: the parts of its fake."""

import base64
import binascii
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from starlette.responses import JSONResponse, Response

from relight.providers.locations import LocationSettings

KEY_ID = "LTAI-fake"
KEY_SECRET = SecretStr("fake-secret")

VSWITCHES = {
    "vsw-hangzhou-g": "cn-hangzhou-g",
    "vsw-hangzhou-h": "cn-hangzhou-h",
    "vsw-frankfurt-a": "eu-central-1a",
}
"""Each is in one zone."""

LOCATIONS = {
    "cn-hangzhou": LocationSettings(
        zones=("vsw-hangzhou-g", "vsw-hangzhou-h"),
        shapes=("ecs.e-c1m1.large", "ecs.g7.large"),
        image="m-hangzhou",
        extra={"security_group": "sg-1"},
    ),
    "eu-central-1": LocationSettings(
        architecture="arm64",
        subnet="vsw-frankfurt-a",
        shapes=("ecs.g8y.large",),
        image_prefix="relight-base-",
        disk_gib=40,
        extra={"security_group": "sg-1", "bandwidth_mbits": 10},
    ),
}

MAX_USER_DATA_BYTES = 32 * 1024

Params = Mapping[str, str]


class Refused(Exception):  # noqa: N818 - an answer of the vendor, not an error of ours
    """An answer with an error code."""

    def __init__(
        self, status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message or f"The vendor's words about {code}."
        self.headers = headers or {}

    @property
    def answer(self) -> Response:
        body = {"RequestId": "3F7B-fake", "Code": self.code, "Message": self.message}
        return JSONResponse(body, self.status, dict(self.headers))


@dataclass
class Instance:
    """One instance, with the parameters of its creation."""

    id: str
    region: str
    zone: str
    params: dict[str, str]
    tags: dict[str, str]
    created_at: datetime
    address: str
    status: str = "Pending"

    @property
    def name(self) -> str:
        return self.params["InstanceName"]

    @property
    def key(self) -> str:
        return self.tags["relight-key"]


@dataclass
class Image:
    """One image of the account.

    Attributes:
        is_copy: of an image in another region.
        is_needed: an instance was made of it.
        is_shared: with other accounts.
    """

    id: str
    name: str
    region: str
    architecture: str = "x86_64"
    family: str = ""
    created_at: str = "2026-01-01T00:00:00Z"
    status: str = "Available"
    tags: dict[str, str] = field(default_factory=dict)
    is_public: bool = False
    is_copy: bool = False
    is_needed: bool = False
    is_shared: bool = False

    def entry(self, *, hides_visibility: bool) -> dict[str, Any]:
        shown = {
            "ImageId": self.id,
            "ImageName": self.name,
            "ImageFamily": self.family,
            "Architecture": self.architecture,
            "CreationTime": self.created_at,
            "Status": self.status,
            "Progress": "100%" if self.status == "Available" else "10%",
            "ImageOwnerAlias": "self",
            "IsCopied": self.is_copy,
            "IsPublic": self.is_public,
            "IsSelfShared": str(self.is_shared).lower(),
            "Tags": {"Tag": [{"TagKey": key, "TagValue": text} for key, text in self.tags.items()]},
        }
        if hides_visibility:
            del shown["IsPublic"]
        return shown


def check_creation(params: Params) -> None:
    for name in ("InstanceType", "SecurityGroupId", "VSwitchId"):
        if not params.get(name):
            raise Refused(400, "MissingParameter", f"The parameter {name} is mandatory.")
    if not re.fullmatch(r"[^\W\d_][\w:.-]{1,127}", params.get("InstanceName", "")):
        raise Refused(400, "InvalidInstanceName.Malformed")
    token = params.get("ClientToken", "")
    if len(token) > 64 or not token.isascii():
        raise Refused(400, "InvalidClientToken.ValueNotSupported")
    if params.get("Amount") != "1":
        raise Refused(403, "InvalidParam.Amount")
    try:
        user_data = base64.b64decode(params.get("UserData", ""), validate=True)
    except binascii.Error:
        raise Refused(400, "InvalidUserData.Base64FormatInvalid") from None
    if len(user_data) > MAX_USER_DATA_BYTES:
        raise Refused(400, "InvalidUserData.SizeExceeded")
    if "ImageId" in params and "ImageFamily" in params:
        raise Refused(400, "UnexpectedImageFamily.ImageIdSupplied")


def check_tags(tags: Sequence[tuple[str, str]]) -> None:
    if len(tags) > 20:
        raise Refused(400, "NumberExceed.Tags")
    if len(dict(tags)) < len(tags):
        raise Refused(400, "Duplicate.TagKey")
    for what, texts in (("Key", [key for key, _ in tags]), ("Value", [value for _, value in tags])):
        if any(len(text) > 128 or text.startswith(("aliyun", "acs:")) for text in texts):
            raise Refused(400, f"InvalidTag{what}.Malformed")


def tags_of(params: Params) -> list[tuple[str, str]]:
    numbers = itertools.takewhile(lambda n: f"Tag.{n}.Key" in params, itertools.count(1))
    return [(params[f"Tag.{n}.Key"], params.get(f"Tag.{n}.Value", "")) for n in numbers]


def disk_of(instance: Instance) -> str:
    return instance.id.replace("i-", "d-")


def entry_of(instance: Instance) -> dict[str, Any]:
    running = instance.status == "Running"
    is_public = instance.params.get("InternetMaxBandwidthOut", "0") != "0"
    return {
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "Status": instance.status,
        "RegionId": instance.region,
        "ZoneId": instance.zone,
        "InstanceType": instance.params["InstanceType"],
        "ImageId": instance.params.get("ImageId", ""),
        "CreationTime": instance.created_at.strftime("%Y-%m-%dT%H:%MZ"),
        "PublicIpAddress": {"IpAddress": [instance.address] if running and is_public else []},
        "EipAddress": {"AllocationId": "", "IpAddress": ""},
        "VpcAttributes": {"PrivateIpAddress": {"IpAddress": ["172.16.0.7"] if running else []}},
        "Tags": {"Tag": [{"TagKey": key, "TagValue": text} for key, text in instance.tags.items()]},
    }


def limits(params: Params) -> dict[str, Any]:
    numbers = itertools.takewhile(lambda n: f"AttributeName.{n}" in params, itertools.count(1))
    items = [
        {
            "AttributeName": params[f"AttributeName.{number}"],
            "AttributeValues": {"ValueItem": [{"Value": str(100 * number)}]},
        }
        for number in numbers
    ]
    return {"AccountAttributeItems": {"AccountAttributeItem": items}}
