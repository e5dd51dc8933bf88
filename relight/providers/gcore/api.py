"""Requests to one project at Gcore. What does not exist is None, and listings are read whole."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from relight.providers.api import ProviderApi
from relight.providers.driver import ProviderAnswerError, ProviderUnavailableError
from relight.providers.gcore.answers import (
    GONE,
    Flavor,
    Found,
    GcoreNotFoundError,
    Image,
    Instance,
    Project,
    RegionName,
    RegionState,
    Task,
    TaskIds,
    Volume,
)
from relight.providers.pages import Page, Pages, next_offset, read_pages
from relight.providers.tags import KEY, OWNER

PER_PAGE = 1000
"""The most that the API gives."""

TASKS_PER_PAGE = 200
"""A task may have the user-data of its machine."""

DELETIONS = 3
"""How often the deletion of a volume is requested in one call."""

T = TypeVar("T", bound=BaseModel)
_FOUND = TypeAdapter(Found)
_INSTANCE = TypeAdapter(Instance)
_TASK = TypeAdapter(Task)
_TASK_IDS = TypeAdapter(TaskIds)
_PROJECT = TypeAdapter(Project)
_REGION = TypeAdapter(RegionState)
_IMAGE = TypeAdapter(Image)
_VOLUME = TypeAdapter(Volume)
_QUOTAS: TypeAdapter[dict[str, int | None]] = TypeAdapter(dict[str, int | None])


class GcoreApi:
    """One project. Regions are numbers; each call says what is attempted, for an error's words."""

    def __init__(
        self,
        api: ProviderApi,
        provider: str,
        project_id: int,
        *,
        poll: timedelta,
        wait: timedelta,
    ) -> None:
        """Request nothing yet.

        Args:
            api: whose refusals are those of `classify`; this closes it.
            provider: the driver's name.
            project_id: of the project.
            poll: between two requests for a task.
            wait: for a task, in one call.
        """
        self._api = api
        self._provider = provider
        self._project_id = project_id
        self._poll, self._wait = poll, wait

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    # ------------------------------------------------------------------ instances

    async def instances(self, attempted: str, region: int, **params: str) -> Pages[Instance]:
        """Return the instances of a region.

        Args:
            attempted: the operation.
            region: to list.
            params: filters of the API; `name` and `uuid` match parts.
        """
        # The oldest first: one that is created meanwhile moves none to another page.
        ordered = {"order_by": "created.asc", **params}
        pages = await self._all(attempted, self._path("v1/instances", region), Instance, ordered)
        there = {each.id: each for each in pages.items if each.status != GONE}
        return Pages(tuple(there.values()), pages.complete)

    async def instance(self, attempted: str, region: int, instance_id: str) -> Instance | None:
        """Return an instance by its id; None if there is none."""
        try:
            response = await self._api.existing(
                attempted, "GET", self._path("v1/instances", region, instance_id)
            )
        except GcoreNotFoundError:
            return None
        found = response.read(_INSTANCE)
        if found.id != instance_id:
            raise response.unreadable(f"it is about {found.id}, not {instance_id}")
        return None if found.status == GONE else found

    async def create(self, attempted: str, region: int, body: Mapping[str, Any]) -> str:
        """Request an instance; return the id of the task that makes it."""
        path = self._path("v2/instances", region)
        response = await self._api.existing(attempted, "POST", path, json=body)
        return response.read(_TASK_IDS).tasks[0]

    async def delete(
        self, attempted: str, region: int, instance_id: str, volumes: Sequence[str]
    ) -> str | None:
        """Request the deletion of an instance and its volumes.

        Returns:
            The id of the task; None if there is no such instance any more.
        """
        path = self._path("v1/instances", region, instance_id)
        params = {"volumes": ",".join(volumes)} if volumes else {}
        try:
            response = await self._api.existing(attempted, "DELETE", path, params=params)
        except GcoreNotFoundError:
            return None
        return response.read(_TASK_IDS).tasks[0]

    # ------------------------------------------------------------------ volumes and images

    async def volumes_of(
        self, attempted: str, region: int, tags: Mapping[str, str]
    ) -> Sequence[Volume]:
        """Return the volumes with the key and the owner that tags name; none without both."""
        wanted = {name: tags[name] for name in (KEY, OWNER) if name in tags}
        if len(wanted) < 2:
            return ()
        params = {"tag_key_value": json.dumps(wanted)}
        return await self._whole(attempted, self._path("v1/volumes", region), Volume, params)

    async def delete_unattached(self, attempted: str, region: int, tags: Mapping[str, str]) -> None:
        """Delete the volumes of a key and an owner that no instance has.

        Raises:
            ProviderUnavailableError: some are left.
        """
        for _ in range(DELETIONS):
            volumes = await self.volumes_of(attempted, region, tags)
            left = [each.id for each in volumes if not each.attachments]
            if not left:
                return
            for volume_id in left:
                with suppress(GcoreNotFoundError):
                    path = self._path("v1/volumes", region, volume_id)
                    response = await self._api.existing(attempted, "DELETE", path)
                    await self.ended(attempted, response.read(_TASK_IDS).tasks[0])
        raise ProviderUnavailableError(
            self._provider, attempted, f"volumes of an earlier attempt are left: {', '.join(left)}"
        )

    async def volume(self, attempted: str, region: int, volume_id: str) -> Volume | None:
        """Return a volume by its id; None if there is none."""
        return await self._one(attempted, self._path("v1/volumes", region, volume_id), _VOLUME)

    async def images(self, attempted: str, region: int, name: str) -> Sequence[Image]:
        """Return the images whose name has this part; all if it is empty.

        Raises:
            ProviderAnswerError: some may be missing.
        """
        return self._complete(attempted, await self.image_pages(attempted, region, name))

    async def image_pages(self, attempted: str, region: int, name: str) -> Pages[Image]:
        """Return the images whose name has this part; all if it is empty."""
        params = {"name": name} if name else {}
        return await self._all(attempted, self._path("v1/images", region), Image, params)

    async def image(self, attempted: str, region: int, image_id: str) -> Image | None:
        """Return an image by its id; None if there is none."""
        return await self._one(attempted, self._path("v1/images", region, image_id), _IMAGE)

    async def import_image(self, attempted: str, region: int, body: Mapping[str, Any]) -> str:
        """Request the import of an image from a URL; return the id of the task that makes it."""
        path = self._path("v1/downloadimage", region)
        response = await self._api.existing(attempted, "POST", path, json=body)
        return response.read(_TASK_IDS).tasks[0]

    async def delete_image(self, attempted: str, region: int, image_id: str) -> str | None:
        """Request an image's deletion; return its task's id, None if there is no such image."""
        path = self._path("v1/images", region, image_id)
        try:
            response = await self._api.existing(attempted, "DELETE", path)
        except GcoreNotFoundError:
            return None
        return response.read(_TASK_IDS).tasks[0]

    # ------------------------------------------------------------------ what may be created

    async def project(self) -> Project:
        """Return the project."""
        path = f"/cloud/v1/projects/{self._project_id}"
        return (await self._api.existing("read the project", "GET", path)).read(_PROJECT)

    async def region(self, region: int) -> RegionState | None:
        """Return a region; None if there is none."""
        try:
            path = f"/cloud/v1/regions/{region}"
            return (await self._api.existing("read a region", "GET", path)).read(_REGION)
        except GcoreNotFoundError:
            return None

    async def regions(self, attempted: str) -> Sequence[RegionName]:
        """Return all regions of the vendor."""
        return await self._whole(attempted, "/cloud/v1/regions", RegionName, {})

    async def flavors(self, region: int) -> Sequence[Flavor]:
        """Return the shapes of a region."""
        path = self._path("v1/flavors", region)
        return await self._whole("list shapes", path, Flavor, {})

    async def quotas(self, client_id: int, region: int) -> Mapping[str, int | None]:
        """Return the limits of the account in a region and their usage, by name."""
        path = f"/cloud/v2/regional_quotas/{client_id}/{region}"
        return (await self._api.existing("read the quotas", "GET", path)).read(_QUOTAS)

    # ------------------------------------------------------------------ tasks

    async def task(self, attempted: str, task_id: str) -> Task:
        """Return a task.

        Raises:
            ProviderUnavailableError: there is none: a new one may not be there yet.
        """
        try:
            response = await self._api.existing(attempted, "GET", f"/cloud/v1/tasks/{task_id}")
        except GcoreNotFoundError as error:
            raise ProviderUnavailableError(self._provider, attempted, error.answer) from error
        return response.read(_TASK)

    async def deletion_of(self, attempted: str, instance: Instance) -> str | None:
        """Return the id of the task that deletes an instance already; None if there is none."""
        if instance.task_id is None:
            return None
        task = await self.task(attempted, instance.task_id)
        return task.id if task.is_pending and task.task_type == "delete_vm" else None

    async def ended(self, attempted: str, task_id: str) -> Task:
        """Return a task when it has ended, or as it is after a while."""
        until = time.monotonic() + self._wait.total_seconds()
        while True:
            task = await self.task(attempted, task_id)
            if not task.is_pending or time.monotonic() >= until:
                return task
            await asyncio.sleep(self._poll.total_seconds())

    async def tasks(
        self, attempted: str, regions: Sequence[int], since: datetime, task_type: str
    ) -> Sequence[Task]:
        """Return the tasks of a type, as `create_vm` or `download_image`, the oldest first."""
        params = {
            "project_id": self._project_id,
            "region_id": list(regions),
            "task_type": task_type,
            "from_timestamp": since.isoformat(timespec="seconds"),
            "order_by": "asc",
        }
        tasks = await self._whole(attempted, "/cloud/v1/tasks", Task, params, TASKS_PER_PAGE)
        return list({each.id: each for each in tasks}.values())

    # ------------------------------------------------------------------ listings

    async def _whole(
        self,
        attempted: str,
        path: str,
        item: type[T],
        params: Mapping[str, Any],
        limit: int = PER_PAGE,
    ) -> Sequence[T]:
        """Return a listing in which nothing may be missing.

        Raises:
            ProviderAnswerError: something is, or is not understood.
        """
        return self._complete(attempted, await self._all(attempted, path, item, params, limit))

    def _complete(self, attempted: str, pages: Pages[T]) -> Sequence[T]:
        if not pages.complete:
            raise ProviderAnswerError(self._provider, attempted, "the listing is not complete")
        return pages.items

    async def _one(self, attempted: str, path: str, adapter: TypeAdapter[T]) -> T | None:
        try:
            return (await self._api.existing(attempted, "GET", path)).read(adapter)
        except GcoreNotFoundError:
            return None

    async def _all(
        self,
        attempted: str,
        path: str,
        item: type[T],
        params: Mapping[str, Any],
        limit: int = PER_PAGE,
    ) -> Pages[T]:
        """Return a listing. An entry that is not understood is left out: it is not complete.

        Each page begins with the last entry of the one before. If it does not, an entry was deleted
        meanwhile and another one has moved to a page already read; the total stays the same if one
        is created, too.
        """
        adapter = TypeAdapter(item)
        complete = True
        last: object = None

        async def read(token: str | None) -> Page[T]:
            nonlocal complete, last
            offset = int(token or 0)
            again = min(offset, 1)
            asked = {**params, "limit": limit, "offset": offset - again}
            page = (await self._api.existing(attempted, "GET", path, params=asked)).read(_FOUND)
            ids = [each.get("id") if isinstance(each, dict) else each for each in page.results]
            complete = complete and ids[:again] == [last][:again]
            last = ids[-1] if ids else last
            entries = page.results[again:]
            items: list[T] = []
            for entry in entries:
                try:
                    items.append(adapter.validate_python(entry))
                except ValidationError:
                    complete = False
            return Page(items, next_offset(offset, len(entries), page.count), page.count)

        pages = await read_pages(self._provider, attempted, read)
        return Pages(pages.items, pages.complete and complete)

    def _path(self, kind: str, region: int, *thing: str) -> str:
        return "/".join(("/cloud", kind, str(self._project_id), str(region), *thing))
