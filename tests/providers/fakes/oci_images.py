"""Images of Oracle Cloud Infrastructure: what is imported, and from where.

Each look at an image that is imported takes its next step: provisioning, importing, available.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from devkit.simulated.images import ImageTrap
from tests.providers.fakes.base import Trap
from tests.providers.fakes.oci_account import Image, OciAccount, time_text
from tests.providers.fakes.oci_refusals import RefusedError, not_found

NAMESPACE = "fleet-namespace"
IMPORTED_SHAPES = ("VM.Standard.E2.1",)
"""Those that an imported image boots on at first."""

_OBJECT = re.compile(rf"/n/{NAMESPACE}/b/[^/?]+/o/[^/?]+$")
_MAX_TOKEN = 64


class FakeImages:
    """The images of one account.

    Attributes:
        failures: why imports failed, by the id of the image.
        sources: where each imported image is from, by its id.
    """

    def __init__(self, account: OciAccount) -> None:
        self._account = account
        self._tokens: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
        self.failures: dict[str, str] = {}
        self.sources: dict[str, str] = {}

    def create(self, region: str, details: Mapping[str, Any], token: str) -> dict[str, Any]:
        account = self._account
        if Trap.QUOTA in account.traps:
            words = "The following service limits were exceeded: custom-image-count."
            raise RefusedError(400, "LimitExceeded", words)
        source = details.get("imageSourceDetails", {})
        if details.get("compartmentId") != account.compartment:
            raise not_found()
        if source.get("sourceType") != "objectStorageUri" or not source.get("sourceUri"):
            raise RefusedError(400, "InvalidParameter", "imageSourceDetails is not valid")
        if not _OBJECT.search(source["sourceUri"]):
            raise RefusedError(400, "InvalidParameter", f"no such object: {source['sourceUri']}")
        if len(token) > _MAX_TOKEN:
            raise RefusedError(400, "InvalidParameter", "opc-retry-token is longer than 64")
        known = self._tokens.get((region, token)) if token else None
        if known is not None:
            image_id, payload = known
            if payload != details or image_id not in account.images:
                words = "The provided retry token was used in an earlier request"
                raise RefusedError(409, "InvalidatedRetryToken", words)
            return self.shown(image_id)
        image_id = account.add_image(region, details["displayName"], IMPORTED_SHAPES)
        image = account.images[image_id]
        image.state = "PROVISIONING"
        image.tags = dict(details.get("freeformTags", {}))
        image.is_listed_to_all = ImageTrap.PUBLIC in account.image_traps
        self._tokens[region, token] = image_id, details
        self.sources[image_id] = unquote(source["sourceUri"])
        return self.shown(image_id)

    def get(self, region: str, image_id: str) -> dict[str, Any]:
        if self.image(region, image_id).state == "DELETED" and image_id not in self.failures:
            raise not_found()
        shown = self.shown(image_id)
        self._step(image_id)
        return shown

    def delete(self, region: str, image_id: str) -> None:
        image = self.image(region, image_id)
        if image.state in {"PROVISIONING", "IMPORTING"}:
            raise RefusedError(409, "IncorrectState", f"image {image_id} is being imported")
        if image.state == "DELETED":
            raise not_found()
        image.state = "DELETED"

    def fit(self, region: str, image_id: str, shape: str) -> dict[str, Any]:
        image = self.image(region, image_id)
        if image.state != "AVAILABLE":
            raise RefusedError(409, "IncorrectState", "The image is not available")
        image.shapes = (*image.shapes, shape)
        return {"imageId": image_id, "shape": shape}

    def errors(self, request_id: str) -> list[dict[str, Any]]:
        image_id = request_id.replace("workrequest", "image")
        words = self.failures[image_id]
        now = time_text(self._account.now())
        return [{"code": "ImportFailed", "message": words, "timestamp": now}]

    def work_requests(self, image_id: str) -> list[dict[str, Any]]:
        if image_id not in self.sources:
            return []
        return [
            {
                "id": image_id.replace("image", "workrequest"),
                "compartmentId": self._account.compartment,
                "operationType": "CreateImage",
                "percentComplete": 100.0,
                "status": "FAILED" if image_id in self.failures else "SUCCEEDED",
                "timeAccepted": time_text(self._account.images[image_id].created_at),
            }
        ]

    def image(self, region: str, image_id: str) -> Image:
        found = self._account.images.get(image_id)
        if found is None or found.region != region:
            raise not_found()
        return found

    def listed(self, region: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        found = [
            self.shown(image_id)
            for image_id, each in self._account.images.items()
            if each.region == region
            and each.state != "DELETED"
            and query.get("shape", each.shapes[0]) in each.shapes
            and query.get("displayName", each.name) == each.name
            and query.get("lifecycleState", each.state) == each.state
        ]
        for each in found:
            self._step(each["id"])
        if found and Trap.TRUNCATED_PAGE in self._account.traps:
            del found[-1]["displayName"]
        return found

    def shown(self, image_id: str) -> dict[str, Any]:
        image = self._account.images[image_id]
        return {
            "id": image_id,
            "baseImageId": None,
            "compartmentId": None if image.is_platform else self._account.compartment,
            "createImageAllowed": True,
            "displayName": image.name,
            "freeformTags": image.tags,
            "launchMode": "PARAVIRTUALIZED",
            "lifecycleState": self._state_shown(image),
            "listingType": "COMMUNITY" if image.is_listed_to_all else None,
            "operatingSystem": "Debian",
            "operatingSystemVersion": "12",
            "timeCreated": time_text(image.created_at),
        }

    def _state_shown(self, image: Image) -> str:
        unknown = ImageTrap.UNKNOWN_STATUS in self._account.image_traps
        return "THAWING" if unknown else image.state

    def _step(self, image_id: str) -> None:
        image, traps = self._account.images[image_id], self._account.image_traps
        if image.state == "PROVISIONING" and ImageTrap.NEVER_STARTS not in traps:
            image.state = "IMPORTING"
        elif image.state == "IMPORTING":
            image.state = "AVAILABLE"
            if ImageTrap.FAILS in traps:
                image.state = "DELETED"
                self.failures[image_id] = "The disk could not be read"
