"""Images in a project at Gcore, in memory: tasks import and delete them, a few at a time."""

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from starlette.requests import Request

from devkit.chaos.provider_faults import Call
from devkit.simulated.images import ImageTrap
from tests.providers.fakes.base import Trap
from tests.providers.fakes.gcore_project import GcoreProject
from tests.providers.fakes.gcore_state import (
    REGIONS,
    Image,
    RefusedError,
    Task,
    not_found,
)

MAX_LIMIT = 1000
IMPORT, DELETION = "download_image", "delete_image"

_IMAGES = ("/cloud/v1/images/", "/cloud/v1/downloadimage/")
_CALLS = {"GET": Call.READ, "POST": Call.CREATE, "DELETE": Call.DESTROY}
_REGIONS = {"luxembourg-2": 76, "frankfurt-2": 180}


class GcoreImages(GcoreProject):
    """The images of one project, in its regions.

    Attributes:
        import_slots: how many imports run at once; the others wait.
        reaped_after: for how long one may wait until it is given up.
        import_works: how long an import of a region runs; a region without an entry: no time.
        failing_imports: the regions in which each import fails.
        imports_reaped: the tasks that were given up.
        most_imports_running: how many have run at once at most.
        fetch: fetches the disk of an import that ends, and returns what is wrong with it; None: no
            disk is fetched.
        used_by_task: whether the deletion's task, and not its request, is refused for an image
            that something needs.
    """

    other_region = "frankfurt-2"
    IMAGE_TRAPS = frozenset(ImageTrap)

    def __init__(self, regions: Iterable[int] = REGIONS) -> None:
        super().__init__(regions)
        self.import_slots = 6
        self.reaped_after = timedelta(minutes=10)
        self.import_works: dict[int, timedelta] = {}
        self.failing_imports: set[int] = set()
        self.imports_reaped: list[str] = []
        self.most_imports_running = 0
        self.fetch: Callable[[str], str | None] | None = None
        self.used_by_task = False

    def image_call_of(self, request: Request) -> Call | None:
        is_one = request.url.path.startswith(_IMAGES)
        return _CALLS.get(request.method) if is_one else None

    # ------------------------------------------------------------------ what a test does

    def add_foreign_image(self, name: str, region: str) -> str:
        image = Image(self.new_id(), _REGIONS[region], name)
        self.images.append(image)
        return image.id

    def images_named(self, name: str) -> int:
        made = [each for each in self.images if each.name == name and each.status != "killed"]
        makers = {each.creator for each in made}
        orders = [
            task
            for task in self.tasks.values()
            if (task.type, task.data.get("name")) == (IMPORT, name)
            and task.state in {"NEW", "RUNNING"}
            and task.id not in makers
        ]
        return len(made) + len(orders)

    def use_image(self, image_id: str) -> None:
        self._image(image_id).used = True

    def release_image(self, image_id: str) -> None:
        self._image(image_id).used = False

    # ------------------------------------------------------------------ the API

    def _list_images(self, request: Request) -> Any:
        images = self.images[:-1] if Trap.STALE_LISTING in self.traps else self.images
        found = [
            self._shown_image(each)
            for each in images
            if each.region == request.path_params["region"]
            and request.query_params.get("name", "").lower() in each.name.lower()
        ]
        return self.page(request, found)

    def _found_image(self, request: Request) -> Image:
        for image in self.images:
            if (image.id, image.region) == (
                request.path_params["id"],
                request.path_params["region"],
            ):
                return image
        raise not_found("Image", request.path_params["id"])

    def _import_image(self, request: Request) -> Any:
        region, body = request.path_params["region"], json.loads(request.state.body)
        missing = {name: ["Field required"] for name in ("name", "url") if not body.get(name)}
        if missing or Trap.INVALID in self.traps:
            words = f"Validation Error: {missing}"
            raise RefusedError(400, "ValidationError", words, invalid_fields=missing)
        if Trap.QUOTA in self.traps:
            words = "Quota limit for image_count exceeded by 1"
            raise RefusedError(403, "QuotaLimitExceed", words)
        return self.begin(self._importing(region, body))

    def _delete_image(self, request: Request) -> Any:
        image = self._found_image(request)
        words = f"Image {image.id} is in use by volumes"
        if image.used and not self.used_by_task:
            raise RefusedError(409, "ConflictError", words)

        def finish(task: Task) -> None:
            if image.used:
                task.error = words
            elif image in self.images:
                self.images.remove(image)

        return self.begin(self.task(image.region, DELETION, finish=finish))

    def page(self, request: Request, found: list[Any], default: int = MAX_LIMIT) -> Any:
        limit = int(request.query_params.get("limit", default))
        offset = int(request.query_params.get("offset", 0))
        if not 0 < limit <= MAX_LIMIT:
            words = f"Validation Error: {{'limit': ['{limit} is not in 1 to {MAX_LIMIT}']}}"
            raise RefusedError(400, "ValidationError", words)
        if Trap.ENDLESS_PAGES in self.traps:
            return {"count": offset + 4 * len(found), "results": [*found, *found]}
        page = found[offset : offset + limit]
        if Trap.TRUNCATED_PAGE in self.traps and offset == 0:
            page = page[:-1]
        return {"count": len(found), "results": page}

    # ------------------------------------------------------------------ tasks

    def step(self, task: Task) -> bool:
        if task.type == IMPORT and task.state == "NEW":
            if self._is_reaped(task):
                task.state, task.changed = "ERROR", self.now()
                task.error = "Task was not started in time"
                self.imports_reaped.append(task.id)
                return True
            if self._running() >= self.import_slots or ImageTrap.NEVER_STARTS in self.image_traps:
                return False
        if task.type == IMPORT and task.state == "RUNNING":
            works = self.import_works.get(task.region, timedelta(0))
            if self.now() < (task.changed or self.now()) + works:
                return False
        return super().step(task)

    def _running(self) -> int:
        """Return how many imports run."""
        return sum((each.type, each.state) == (IMPORT, "RUNNING") for each in self.tasks.values())

    def _is_reaped(self, task: Task) -> bool:
        return (
            ImageTrap.REAPED in self.image_traps or self.now() >= task.created + self.reaped_after
        )

    def _importing(self, region: int, body: dict[str, Any]) -> Task:
        """Return the task that imports an image."""
        image = Image(
            self.new_id(),
            region,
            body["name"],
            architecture=body.get("architecture", "x86_64"),
            created=f"{self.now():%Y-%m-%dT%H:%M:%S.%f}",
            status="saving",
            tags=body.get("tags", {}),
        )
        if ImageTrap.PUBLIC in self.image_traps:
            image.visibility = "public"
        if ImageTrap.UNREADABLE_VISIBILITY in self.image_traps:
            image.visibility = None

        def start(task: Task) -> None:
            image.creator = task.id
            self.images.append(image)
            self.most_imports_running = max(self.most_imports_running, self._running())

        def finish(task: Task) -> None:
            fails = ImageTrap.FAILS in self.image_traps or region in self.failing_imports
            wrong = self.fetch(body["url"]) if self.fetch is not None and not fails else None
            if fails or wrong is not None:
                image.status = "killed"
                task.error = f"Image {image.id} could not be downloaded from {body['url']}"
                task.error += f": {wrong}" if wrong is not None else ""
                return
            image.status = "active"
            task.resources = {"images": [image.id]}

        return self.task(region, IMPORT, body, start, finish)

    def _get_image(self, request: Request) -> Any:
        return self._shown_image(self._found_image(request))

    def _shown_image(self, image: Image) -> dict[str, Any]:
        unknown = ImageTrap.UNKNOWN_STATUS in self.image_traps
        return image.shown() | ({"status": "thawing"} if unknown else {})

    def _image(self, image_id: str) -> Image:
        return next(each for each in self.images if each.id == image_id)
