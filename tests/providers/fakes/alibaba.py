"""Alibaba Cloud ECS: what it checks, refuses, forgets and bills.

An instance runs after it was listed once, and is gone after it was listed once more since its
deletion.
"""

import base64
import ipaddress
import itertools
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.images import ImageTrap
from relight.providers.alibaba.driver import AlibabaDriver
from relight.providers.alibaba.settings import AlibabaSettings
from relight.providers.alibaba.signature import signature
from tests.providers.fakes.alibaba_images import REQUIRED, FakeImages
from tests.providers.fakes.alibaba_parts import (
    KEY_ID,
    KEY_SECRET,
    LOCATIONS,
    VSWITCHES,
    Image,
    Instance,
    Params,
    Refused,
    check_creation,
    check_tags,
    disk_of,
    entry_of,
    limits,
    tags_of,
)
from tests.providers.fakes.base import Trap, VendorFake
from tests.providers.fakes.bill import Billed


class AlibabaFake(VendorFake):
    """One account.

    Attributes:
        instances: those that exist, by id.
        images: of the account.
        made_images: what imports, copies and deletes them.
        refusals: answers to the next calls of an action.
        pages: status and content of what answers next in place of the API.
        mismatch_after_refusal: a token that met no stock is refused ever after as a mismatch;
            otherwise with the same words.
    """

    name = "alibaba"
    region, other_region = "cn-hangzhou", "eu-central-1"
    IMAGE_TRAPS = frozenset(ImageTrap) - {ImageTrap.REAPED}
    rounding = timedelta(minutes=1)

    def __init__(self) -> None:
        super().__init__()
        self.instances: dict[str, Instance] = {}
        self.images = [
            Image("m-hangzhou", "relight-base-1", "cn-hangzhou"),
            Image("m-old", "relight-base-1", "eu-central-1", "arm64"),
            Image("m-new", "relight-base-2", "eu-central-1", "arm64", "", "2026-02-01T00:00:00Z"),
        ]
        self.made_images = FakeImages(self, lambda: self.images)
        self.refusals: dict[str, deque[Refused]] = {}
        self.pages: list[tuple[int, str]] = []
        self.mismatch_after_refusal = False
        self._numbers = itertools.count(1)
        self._tokens: dict[str, tuple[Params, dict[str, Any] | Refused]] = {}
        self._nonces: set[str] = set()

    def settings(self, folder: Path) -> AlibabaSettings:
        file = folder / "alibaba-secret"
        file.write_text(KEY_SECRET.get_secret_value())
        return AlibabaSettings(
            url=self.url,
            key_id=KEY_ID,
            key_file=file,
            locations=LOCATIONS,
            timeout=timedelta(seconds=10),
        )

    def driver(self, folder: Path) -> AlibabaDriver:
        return AlibabaDriver(self.settings(folder))

    def refuse(self, action: str, refused: Refused, times: int = 1) -> None:
        """Answer the next calls of an action with a refusal."""
        self.refusals.setdefault(action, deque()).extend([refused] * times)

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/", self._answer_to, methods=["POST"])]

    def call_of(self, request: Request) -> Call | None:
        calls = {"RunInstances": Call.CREATE, "DeleteInstance": Call.DESTROY}
        return calls.get(request.headers.get("x-acs-action", ""), Call.READ)

    def image_call_of(self, request: Request) -> Call | None:
        action = request.headers.get("x-acs-action", "")
        calls = {
            "DescribeImages": Call.READ,
            "DeleteImage": Call.DESTROY,
            "ImportImage": Call.CREATE,
            "CopyImage": Call.CREATE,
        }
        return calls.get(action)

    def add_foreign_image(self, name: str, region: str) -> str:
        return self.made_images.add(name, region).id

    def images_named(self, name: str) -> int:
        return sum(each.name == name and each.status != "CreateFailed" for each in self.images)

    def use_image(self, image_id: str) -> None:
        self.made_images.named(image_id).is_needed = True

    def release_image(self, image_id: str) -> None:
        self.made_images.named(image_id).is_needed = False

    def refusal(self, fault: ProviderFault) -> Response:
        if fault is ProviderFault.SERVER_ERROR:
            return Refused(500, "InternalError").answer
        words = "Request was denied due to user flow control."
        return Refused(400, "Throttling.User", words).answer

    def accepted(self, request: Request) -> Response:
        return JSONResponse({"RequestId": "3F7B-fake"})

    async def _answer_to(self, request: Request) -> Response:
        query = request.query_params.multi_items()
        action = request.headers.get("x-acs-action", "")
        if self.pages:
            status, content = self.pages.pop(0)
            return PlainTextResponse(content, status)
        try:
            self._check_access(request, query)
            if queue := self.refusals.get(action):
                raise queue.popleft()
            return JSONResponse({"RequestId": "3F7B-fake", **self._done(action, dict(query))})
        except Refused as refused:
            return refused.answer

    def _check_access(self, request: Request, query: list[tuple[str, str]]) -> None:
        found = re.fullmatch(
            r"ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})",
            request.headers.get("authorization", ""),
        )
        if not found:
            raise Refused(400, "IncompleteSignature")
        key_id, names, signed = found.groups()
        if key_id != KEY_ID:
            raise Refused(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        covered = {name: request.headers[name] for name in names.split(";")}
        acs = {name for name in request.headers if name.startswith("x-acs-")}
        if not {"host", "x-acs-action", "x-acs-version", "x-acs-date"} | acs <= set(covered):
            raise Refused(400, "IncompleteSignature")
        if signature(KEY_SECRET, request.method, request.url.path, query, covered) != signed:
            text = f"server CanonicalRequest is [POST\n/\n{request.url.query}]"
            raise Refused(403, "SignatureDoesNotMatch", text)
        if abs(self.now() - datetime.fromisoformat(covered["x-acs-date"])) > timedelta(minutes=15):
            raise Refused(400, "InvalidTimeStamp.Expired")
        nonce = covered["x-acs-signature-nonce"]
        if nonce in self._nonces:
            raise Refused(400, "SignatureNonceUsed")
        self._nonces.add(nonce)
        if Trap.NO_PERMISSION in self.traps:
            raise Refused(403, "Forbidden.RAM", "User not authorized to operate.")

    def _done(self, action: str, params: Params) -> dict[str, Any]:
        if action != "DeleteInstance" and params.get("RegionId") not in LOCATIONS:
            raise Refused(404, "InvalidRegionId.NotFound")
        match action:
            case "RunInstances":
                return self._run(params)
            case "DescribeInstances":
                return self._describe(params)
            case "DeleteInstance":
                return self._delete(params)
            case "GetInstanceConsoleOutput":
                return self._console(params)
            case "DescribeAccountAttributes":
                return limits(params)
            case _ if action == "DescribeImages" or action in REQUIRED:
                return self.made_images.done(action, params)
            case _:
                raise Refused(404, "InvalidAction.NotFound")

    # ------------------------------------------------------------------ RunInstances

    def _run(self, params: Params) -> dict[str, Any]:
        token = params.get("ClientToken", "")
        if token in self._tokens:
            payload, answer = self._tokens[token]
            is_refused = isinstance(answer, Refused)
            if payload != params or (is_refused and self.mismatch_after_refusal):
                raise Refused(400, "IdempotentParameterMismatch")
            if isinstance(answer, Refused):
                raise answer
            return answer
        zone = self._checked_zone(params)
        if Trap.QUOTA in self.traps:
            raise Refused(403, "QuotaExceed.ElasticQuota", "No additional quota is available.")
        if Trap.INVALID in self.traps:
            raise Refused(400, "InvalidParameter", "A parameter is not valid.")
        if self.is_full(params["VSwitchId"], params["InstanceType"]):
            refused = Refused(403, "OperationDenied.NoStock", "The resource is out of usage.")
            if token:
                self._tokens[token] = params, refused
            raise refused
        if params.get("DryRun") == "true":
            raise Refused(400, "DryRunOperation", "Request validation has been passed.")
        number = next(self._numbers)
        created = Instance(
            id=f"i-{number:08x}",
            region=params["RegionId"],
            zone=zone,
            params=dict(params),
            tags=dict(tags_of(params)),
            created_at=self.now(),
            address=str(ipaddress.ip_address("198.18.0.0") + number),
        )
        self.instances[created.id] = created
        self.bill.begin(Billed.MACHINE, created.id, created.key, created.created_at)
        self.bill.begin(Billed.VOLUME, disk_of(created), created.key, created.created_at)
        answer = {"InstanceIdSets": {"InstanceIdSet": [created.id]}}
        if token:
            self._tokens[token] = params, answer
        return answer

    def _checked_zone(self, params: Params) -> str:
        check_creation(params)
        check_tags(tags_of(params))
        named = {params.get("ImageId"), params.get("ImageFamily")} - {None}
        here = (image for image in self.images if image.region == params["RegionId"])
        if not any(named & {image.id, image.family} for image in here):
            raise Refused(404, "InvalidImageId.NotFound", "The specified ImageId does not exist.")
        zone = VSWITCHES.get(params["VSwitchId"], "")
        if not zone.startswith(params["RegionId"]):
            raise Refused(404, "InvalidVSwitchId.NotFound")
        return zone

    # ------------------------------------------------------------------ the others

    def _describe(self, params: Params) -> dict[str, Any]:
        ids = json.loads(params["InstanceIds"]) if "InstanceIds" in params else None
        wanted = tags_of(params)
        existing = list(self.instances.values())
        if Trap.STALE_LISTING in self.traps:
            del existing[-1:]
        found = [
            each
            for each in existing
            if each.region == params["RegionId"]
            and (ids is None or each.id in ids)
            and all(each.tags.get(key) == value for key, value in wanted)
        ]
        start = int(params.get("NextToken") or 0)
        size = min(max(int(params.get("MaxResults", "10")), 10), 100)
        if Trap.TRUNCATED_PAGE in self.traps and not start:
            size = 1
        token = str(start + size) if start + size < len(found) else ""
        listed = list(self._listed(found[start : start + size]))
        return {
            "Instances": {"Instance": listed * (1 + (Trap.DUPLICATE_LISTING in self.traps))},
            "NextToken": "7" if Trap.ENDLESS_PAGES in self.traps else token,
            "TotalCount": 0,
        }

    def _listed(self, page: list[Instance]) -> Iterator[dict[str, Any]]:
        for instance in page:
            yield entry_of(instance)
            if instance.status == "Stopping":
                del self.instances[instance.id]
            elif instance.status == "Pending" and Trap.NEVER_STARTS not in self.traps:
                failed = Trap.STARTS_FAILED in self.traps
                instance.status = "Stopped" if failed else "Running"

    def _delete(self, params: Params) -> dict[str, Any]:
        instance = self.instances.get(params["InstanceId"])
        if instance is None:
            raise Refused(404, "InvalidInstanceId.NotFound", "The InstanceId does not exist.")
        if instance.status != "Stopped" and params.get("Force", "").lower() != "true":
            raise Refused(403, "IncorrectInstanceStatus")
        if params.get("DryRun", "").lower() == "true":
            raise Refused(400, "DryRunOperation", "Request validation has been passed.")
        if instance.status != "Stopping":
            instance.status = "Stopping"
            at = self.now()
            self.bill.end(Billed.MACHINE, instance.id, at)
            self.bill.end(Billed.VOLUME, disk_of(instance), at)
        return {}

    def _console(self, params: Params) -> dict[str, Any]:
        instance = self.instances.get(params["InstanceId"])
        if instance is None:
            raise Refused(404, "InvalidInstanceId.NotFound")
        if instance.status != "Running":
            raise Refused(405, "IncorrectInstanceStatus")
        output = base64.b64encode(f"{instance.name} login: ".encode()).decode()
        return {"InstanceId": instance.id, "ConsoleOutput": output}
