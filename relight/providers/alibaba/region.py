"""One region of Alibaba Cloud ECS: its API has its own address, and its own limits of rate."""

import base64
import binascii
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import httpx
from pydantic import JsonValue

from relight.domain.machine import MachineAtProvider, MachineStatus
from relight.providers.alibaba.answers import (
    ACCOUNT,
    CONSOLE,
    CREATED,
    DONE,
    IMAGES_PAGE,
    INSTANCE,
    INSTANCES_PAGE,
    Image,
)
from relight.providers.alibaba.errors import DryRunPassedError, WrongStatusError, classify
from relight.providers.alibaba.settings import AlibabaSettings, extra_of
from relight.providers.api import ProviderApi, Response
from relight.providers.driver import ProviderAnswerError
from relight.providers.first_boot import may_boot
from relight.providers.images import BaseImage, newest_image
from relight.providers.locations import LocationSettings
from relight.providers.pages import Page, next_offset, read_pages
from relight.providers.rate import Call
from relight.providers.tags import read_tags

URL: Final = "https://ecs.{region}.aliyuncs.com"
VERSION: Final = "2014-05-26"
MAX_PAGE: Final = 100
LIMITS: Final = ("max-postpaid-instance-vcpu-count", "used-postpaid-instance-vcpu-count")

ARCHITECTURES: Final = {"amd64": "x86_64"}
"""Where the vendor has another name than Debian."""

_STATUSES = {
    "Pending": MachineStatus.PROVISIONING,
    "Starting": MachineStatus.PROVISIONING,
    "Running": MachineStatus.RUNNING,
    "Stopping": MachineStatus.FAILED,
    "Stopped": MachineStatus.FAILED,
}
"""A new machine may be `Stopped` before its first boot. A status that is not here says nothing."""


class AlibabaRegion:
    """The instances and images of one region."""

    def __init__(
        self,
        provider: str,
        name: str,
        location: LocationSettings,
        settings: AlibabaSettings,
        auth: httpx.Auth,
    ) -> None:
        """Request nothing yet.

        Args:
            provider: the driver's name.
            name: of the region.
            location: what machines there are made with.
            settings: of the account.
            auth: signs the requests.
        """
        self.name = name
        self.location = location
        self.extra = extra_of(self.location)
        self._provider = provider
        self._api = ProviderApi(
            provider,
            (settings.url or URL).replace("{region}", name),
            {"Accept": "application/json", "x-acs-version": VERSION},
            settings.timeout,
            auth=auth,
            classify=classify,
        )

    async def create(self, attempted: str, params: Mapping[str, str]) -> str:
        """Return the id of the instance that a token creates, or has created before.

        Raises:
            TokenMismatchError: the token was used with other parameters.
            ProviderError: as of `ProviderApi.request`.
        """
        response = await self.existing(attempted, "RunInstances", params, Call.CREATE)
        [instance_id] = response.read(CREATED).created.ids
        return instance_id

    async def machines(
        self, attempted: str, params: Mapping[str, str]
    ) -> tuple[MachineAtProvider | ProviderAnswerError, ...]:
        """Return the machines that parameters select; an error for each that is not understood.

        Raises:
            ProviderError: they could not be listed.
        """

        async def read(token: str | None) -> Page[MachineAtProvider | ProviderAnswerError]:
            asked = {**params, "MaxResults": str(MAX_PAGE)}
            response = await self.existing(
                attempted, "DescribeInstances", {**asked, "NextToken": token} if token else asked
            )
            page = response.read(INSTANCES_PAGE)
            # It has no total: the vendor's is without meaning where tokens are used.
            machines = [self._machine(response, each) for each in page.instances.all]
            return Page(machines, page.next_token or None)

        return (await read_pages(self._provider, attempted, read)).items

    async def delete(self, attempted: str, instance_id: str) -> bool:
        """Request the deletion of an instance, and return whether it still existed.

        Raises:
            WrongStatusError: it is still being initialized, or is being deleted.
            ProviderError: as of `ProviderApi.request`.
        """
        return await self._delete(attempted, {"InstanceId": instance_id, "Force": "true"})

    async def exists(self, attempted: str, instance_id: str) -> bool:
        """Return whether an instance exists, also where no listing has it.

        Raises:
            ProviderError: as of `ProviderApi.request`.
        """
        params = {"InstanceId": instance_id, "Force": "true", "DryRun": "true"}
        try:
            return await self._delete(attempted, params)
        except DryRunPassedError:
            return True

    async def console(self, attempted: str, instance_id: str) -> str | None:
        """Return the output of an instance's console; None while it does not run.

        Raises:
            ProviderError: as of `ProviderApi.request`.
        """
        params = {"InstanceId": instance_id}
        try:
            response = await self._request(attempted, "GetInstanceConsoleOutput", params)
        except WrongStatusError:
            return None
        if response is None:
            return None
        try:
            output = base64.b64decode(response.read(CONSOLE).output, validate=True)
        except binascii.Error as error:
            raise response.unreadable("the output is not in base64") from error
        return output.decode(errors="replace")

    async def newest_image(self) -> BaseImage | None:
        """Return the newest image for the location's prefix and architecture.

        Raises:
            ProviderError: they could not be listed.
        """
        attempted, prefix = f"list images in {self.name}", self.location.image_prefix
        architecture = self.location.architecture
        params = {
            "Architecture": ARCHITECTURES.get(architecture, architecture),
            "ImageName": f"{prefix}*",
            "Status": "Available",
            "PageSize": str(MAX_PAGE),
        }

        async def read(token: str | None) -> Page[Image]:
            offset = int(token or 0)
            number = str(1 + offset // MAX_PAGE)
            response = await self.existing(
                attempted, "DescribeImages", {**params, "PageNumber": number}
            )
            page = response.read(IMAGES_PAGE)
            following = next_offset(offset, MAX_PAGE, page.total)
            return Page(page.images.all, following, page.total)

        found = (await read_pages(self._provider, attempted, read)).items
        images = (BaseImage(image.id, image.name, image.created_at) for image in found)
        # The vendor matches a part of the name.
        return newest_image(images, prefix)

    async def limits(self, attempted: str) -> Mapping[str, str]:
        """Return the account's limits in this region by their names.

        Raises:
            ProviderError: they could not be read.
        """
        params = {f"AttributeName.{number}": name for number, name in enumerate(LIMITS, start=1)}
        response = await self.existing(attempted, "DescribeAccountAttributes", params)
        return {
            attribute.name: ", ".join(value.text for value in attribute.values.all)
            for attribute in response.read(ACCOUNT).attributes.all
        }

    async def image_of(self, attempted: str, instance_id: str) -> str:
        """Return the id of the image that an instance was made of; empty if that is not known.

        Raises:
            ProviderError: as of `ProviderApi.request`.
        """
        params = {"InstanceIds": json.dumps([instance_id])}
        response = await self.existing(attempted, "DescribeInstances", params)
        for entry in response.read(INSTANCES_PAGE).instances.all:
            instance = response.understood(partial(INSTANCE.validate_python, entry))
            if instance.id == instance_id:
                return instance.image_id
        return ""

    async def existing(
        self, attempted: str, action: str, params: Mapping[str, str], call: Call = Call.READ
    ) -> Response:
        """Return the response to an action that is about no instance.

        Raises:
            ProviderError: as of `ProviderApi.existing`.
        """
        options = self._options(action, params)
        return await self._api.existing(attempted, "POST", "/", call=call, **options)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    def _machine(
        self, response: Response, entry: JsonValue
    ) -> MachineAtProvider | ProviderAnswerError:
        def read() -> MachineAtProvider:
            found = INSTANCE.validate_python(entry)
            ours = read_tags(found.tags.texts)
            status = _STATUSES.get(found.status, MachineStatus.PROVISIONING)
            if found.status == "Stopped" and may_boot(found.created_at):
                status = MachineStatus.PROVISIONING
            return MachineAtProvider(
                key=ours.key or found.name or found.id,
                provider=self._provider,
                provider_id=f"{self.name}:{found.id}",
                region=self.name,
                architecture=self.location.architecture,
                status=status,
                address=found.address(is_public=self.extra.bandwidth_mbits > 0),
                owner=ours.owner,
                generation=ours.generation,
                created_by=ours.created_by,
                created_at=found.created_at,
            )

        try:
            return response.understood(read)
        except ProviderAnswerError as error:
            return error

    async def _delete(self, attempted: str, params: Mapping[str, str]) -> bool:
        response = await self._request(attempted, "DeleteInstance", params, Call.DESTROY)
        if response is not None:
            response.read(DONE)
        return response is not None

    async def _request(
        self, attempted: str, action: str, params: Mapping[str, str], call: Call = Call.READ
    ) -> Response | None:
        """Return the response to an action; None if it is about an instance that is absent."""
        options = self._options(action, params)
        return await self._api.request(attempted, "POST", "/", call=call, **options)

    def _options(self, action: str, params: Mapping[str, str]) -> Mapping[str, Any]:
        # A deletion has no such parameter: the region is that of the API.
        region = {} if action == "DeleteInstance" else {"RegionId": self.name}
        return {"params": {**region, **params}, "headers": {"x-acs-action": action}}
