"""Images of Alibaba Cloud ECS: what it checks, refuses and does over time.

Each listing of an image that is made takes its next step: waiting, creating, available.
"""

import fnmatch
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from devkit.simulated.images import ImageTrap
from tests.providers.fakes.alibaba_parts import Image, Params, Refused, check_tags, tags_of
from tests.providers.fakes.base import Trap, VendorFake

REQUIRED = {
    "ImportImage": (
        *("ImageName", "DiskDeviceMapping.1.OSSBucket", "DiskDeviceMapping.1.OSSObject"),
        *("DiskDeviceMapping.1.Format", "Architecture"),
    ),
    "CopyImage": ("ImageId", "DestinationRegionId", "DestinationImageName"),
    "DeleteImage": ("ImageId",),
    "CancelCopyImage": ("ImageId",),
    "ModifyImageSharePermission": ("ImageId", "IsPublic"),
}
UNDER_WAY = {"Waiting", "Creating"}


class FakeImages:
    """The images of one account.

    Attributes:
        page_size: the largest; the vendor's is 100.
    """

    def __init__(self, account: VendorFake, images: Callable[[], list[Image]]) -> None:
        self._account = account
        self._images = images
        self._numbers = itertools.count(1)
        self.page_size = 100

    @property
    def all(self) -> list[Image]:
        return self._images()

    def named(self, image_id: str) -> Image:
        return next(each for each in self.all if each.id == image_id)

    def done(self, action: str, params: Params) -> dict[str, Any]:
        if action == "DescribeImages":
            return self._describe(params)
        for name in REQUIRED[action]:
            if name not in params:
                raise Refused(400, "MissingParameter", f"The parameter {name} is mandatory.")
        match action:
            case "ImportImage":
                return self._import(params)
            case "CopyImage":
                return self._copy(params)
            case "DeleteImage":
                return self._delete(params)
            case "CancelCopyImage":
                return self._cancel(params)
            case _:
                self._in_region(params).is_public = params["IsPublic"] == "true"
                return {}

    def add(self, name: str, region: str, **fields: Any) -> Image:
        now = self._account.now()
        image = Image(
            id=f"m-{region}-{next(self._numbers):04}",
            name=name,
            region=region,
            created_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            **fields,
        )
        self.all.append(image)
        return image

    def _import(self, params: Params) -> dict[str, Any]:
        if not params["DiskDeviceMapping.1.OSSObject"]:
            raise Refused(400, "InvalidOSSObject.NotFound")
        image = self._made(params, params["RegionId"], params["ImageName"], params["Architecture"])
        return {"ImageId": image.id, "TaskId": f"t-{image.id}", "RegionId": image.region}

    def _copy(self, params: Params) -> dict[str, Any]:
        source = self._in_region(params)
        if source.status != "Available":
            raise Refused(403, "IncorrectImageStatus")
        name, region = params["DestinationImageName"], params["DestinationRegionId"]
        image = self._made(params, region, name, source.architecture)
        image.is_copy = True
        return {"ImageId": image.id}

    def _made(self, params: Params, region: str, name: str, architecture: str) -> Image:
        check_tags(tags_of(params))
        if any((each.name, each.region) == (name, region) for each in self.all):
            raise Refused(400, "InvalidImageName.Duplicated", "The destination image is exist.")
        if Trap.QUOTA in self._account.traps:
            raise Refused(403, "QuotaExceed.Image", "The Image Quota exceeds.")
        return self.add(
            name,
            region,
            architecture=architecture,
            status="Waiting",
            tags=dict(tags_of(params)),
            is_public=ImageTrap.PUBLIC in self._account.image_traps,
        )

    def _delete(self, params: Params) -> dict[str, Any]:
        image = self._in_region(params)
        if image.status in UNDER_WAY:
            code = "OperationDenied.ImageCopying" if image.is_copy else "ImageIsImporting"
            raise Refused(403, code)
        if image.is_public:
            raise Refused(403, "ImageIsPublic", "You can not delete public image.")
        if image.is_needed and params.get("Force") != "true":
            words = "The specified image has been used to create instances."
            raise Refused(403, "ImageUsingByInstance", words)
        self.all.remove(image)
        return {}

    def _cancel(self, params: Params) -> dict[str, Any]:
        image = self._in_region(params)
        if image.status not in UNDER_WAY or not image.is_copy:
            raise Refused(403, "IncorrectImageStatus", "The image is not being copied.")
        self.all.remove(image)
        return {}

    def _in_region(self, params: Params) -> Image:
        for image in self.all:
            if (image.id, image.region) == (params["ImageId"], params["RegionId"]):
                return image
        raise Refused(404, "InvalidImageId.NotFound", "The specified ImageId does not exist.")

    def _describe(self, params: Params) -> dict[str, Any]:
        # A part of the name is enough.
        pattern = f"*{params.get('ImageName', '').strip('*')}*"
        statuses = params.get("Status", "Available").split(",")
        found = [
            image
            for image in self.all
            if image.region == params["RegionId"]
            and fnmatch.fnmatchcase(image.name, pattern)
            and params.get("Architecture", image.architecture) == image.architecture
            and params.get("ImageId", image.id) == image.id
            and image.status in statuses
        ]
        size = min(int(params.get("PageSize", "10")), self.page_size)
        number = int(params.get("PageNumber", "1"))
        page = list(self._listed(found[(number - 1) * size : number * size]))
        total = len(found)
        if Trap.TRUNCATED_PAGE in self._account.traps:
            page = page[:-1]
        if Trap.ENDLESS_PAGES in self._account.traps:
            total, number = 10**9, 1
        return {"Images": {"Image": page}, "TotalCount": total, "PageNumber": number}

    def _listed(self, page: list[Image]) -> Iterator[dict[str, Any]]:
        traps = self._account.image_traps
        for image in page:
            unknown = {"Status": "Thawing"} if ImageTrap.UNKNOWN_STATUS in traps else {}
            hides_visibility = ImageTrap.UNREADABLE_VISIBILITY in traps
            yield image.entry(hides_visibility=hides_visibility) | unknown
            if image.status == "Waiting" and ImageTrap.NEVER_STARTS not in traps:
                image.status = "Creating"
            elif image.status == "Creating":
                image.status = "CreateFailed" if ImageTrap.FAILS in traps else "Available"
