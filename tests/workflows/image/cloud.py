"""A cloud in memory that imports images by tasks, as Gcore does, and the object storage it reads.

A few tasks run at once. One that has not begun ten minutes after its creation is given up. Time is
what the caller says: that of a server which skips it.
"""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageRef,
    ImageStatus,
    Visibility,
)
from relight.providers.driver import ProviderError
from relight.providers.image_driver import ImageSpec

REAPED_AFTER = timedelta(minutes=10)
REAPED = '{"state": "ERROR", "error": "the task did not start within 10 minutes"}'
UNREADABLE = '{"state": "ERROR", "error": "the disk could not be read"}'


class Count(StrEnum):
    """What is counted."""

    IMPORTS = "imports begun"
    REAPED = "imports reaped"
    MOST_ORDERED = "most orders at once"


class _Task:
    def __init__(self, image: ImageAtProvider, created: datetime, lasts: timedelta) -> None:
        self.image, self.created, self.lasts = image, created, lasts
        self.ends: datetime | None = None

    def set(self, status: ImageStatus, words: str = "") -> None:
        self.image = self.image.model_copy(update={"status": status, "words": words})


class TaskCloud:
    """One account, and one bucket beside it."""

    def __init__(
        self,
        name: str = "gcore",
        *,
        regions: Iterable[str] = ("east", "west"),
        slots: int = 6,
        lasts: timedelta = timedelta(minutes=8),
        longer: dict[str, timedelta] | None = None,
        failing: Iterable[str] = (),
        public: Iterable[str] = (),
    ) -> None:
        self.name = name
        self._regions, self._slots, self._lasts = tuple(regions), slots, lasts
        self._longer, self._failing, self._public = longer or {}, {*failing}, {*public}
        self._tasks: list[_Task] = []
        self._objects: set[str] = set()
        self._counts = dict.fromkeys(Count, 0)
        self._now: datetime | None = None
        self._ids = itertools.count(1)

    # ------------------------------------------------------------------ what tests ask

    def counts(self) -> dict[str, int]:
        return {str(name): number for name, number in self._counts.items()}

    def objects(self) -> list[str]:
        return sorted(self._objects)

    def regions(self) -> tuple[str, ...]:
        return self._regions

    def mend(self) -> None:
        """Let no region fail any more."""
        self._failing, self._public = set(), set()

    def last(self, region: str, lasts: timedelta) -> None:
        """Let imports to a region last as long."""
        self._longer[region] = lasts

    def add(self, image: ImageAtProvider) -> None:
        """Add an image that is there already."""
        self._tasks.append(_Task(image, datetime.now(UTC), timedelta(0)))

    def lose(self, image_id: str) -> None:
        """Let an image be gone, as if somebody had deleted it."""
        self._tasks = [each for each in self._tasks if each.image.image_id != image_id]

    def everything(self) -> list[ImageAtProvider]:
        return [each.image for each in self._tasks]

    # ------------------------------------------------------------------ what workers call

    def call(self, name: str, now: datetime, *args: Any) -> Any:
        """Make a call at a time."""
        self._advance(now)
        return getattr(self, f"_{name}")(*args)

    def _images(self, region: str, prefix: str) -> ImageListing:
        found = [t.image for t in self._tasks if t.image.region == region]
        return ImageListing(images=tuple(each for each in found if each.name.startswith(prefix)))

    def _image(self, ref: ImageRef) -> ImageAtProvider | None:
        return next((t.image for t in self._tasks if t.image.image_id == ref.image_id), None)

    def _import_image(self, spec: ImageSpec, key: str) -> ImageAtProvider:
        name, region = spec.manifest.name, spec.region
        over = {ImageStatus.FAILED, ImageStatus.DELETING}
        for task in self._tasks:
            is_same = (task.image.name, task.image.region) == (name, region)
            if is_same and task.image.status not in over:
                return task.image
        assert key in self._objects, "the disk is not there"
        self._count(Count.IMPORTS)
        image = ImageAtProvider(
            name=name,
            provider=self.name,
            region=region,
            image_id=f"task-{next(self._ids)}",
            status=ImageStatus.WAITING,
            architecture=spec.manifest.architecture,
            visibility=Visibility.PUBLIC if region in self._public else Visibility.PRIVATE,
            owner=spec.owner,
            identity=spec.manifest.identity,
            created_at=self._now,
        )
        assert self._now is not None
        self._tasks.append(_Task(image, self._now, self._longer.get(region, self._lasts)))
        ordered = [t for t in self._tasks if self._is_open(t)]
        self._counts[Count.MOST_ORDERED] = max(self._counts[Count.MOST_ORDERED], len(ordered))
        self._start(self._now)
        return image

    def _copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        if self._image(source) is None:
            words = f"there is no image {source.image_id}"
            raise ProviderError(self.name, f"copy to {spec.region}", words)
        return self._import_image(spec, spec.manifest.name)

    def _delete_image(self, ref: ImageRef) -> bool:
        found = [t for t in self._tasks if t.image.image_id == ref.image_id]
        for task in found:
            self._tasks.remove(task)
        return bool(found)

    def _stage(self, name: str) -> str:
        self._objects.add(name)
        return name

    def _unstage(self, name: str) -> None:
        self._objects.discard(name)

    def _sweep(self, keep: list[str]) -> list[str]:
        lost = sorted(self._objects - {*keep})
        self._objects -= {*lost}
        return lost

    # ------------------------------------------------------------------ time

    def _advance(self, now: datetime) -> None:
        """Let happen what happens until then, in its order."""
        self._now = now = max(now, self._now or now)
        while running := [t for t in self._tasks if t.ends is not None and self._is_open(t)]:
            first = min(running, key=lambda task: task.ends or now)
            assert first.ends is not None
            if first.ends > now:
                break
            failing = first.image.region in self._failing or first.image.name not in self._objects
            status = ImageStatus.FAILED if failing else ImageStatus.AVAILABLE
            first.set(status, UNREADABLE if failing else "")
            self._start(first.ends)
        self._start(now)

    def _start(self, at: datetime) -> None:
        """Begin what waits, and give up what has waited for too long."""
        for task in [t for t in self._tasks if t.image.status is ImageStatus.WAITING]:
            running = sum(self._is_open(t) and t.ends is not None for t in self._tasks)
            if at - task.created > REAPED_AFTER:
                task.set(ImageStatus.FAILED, REAPED)
                self._count(Count.REAPED)
            elif running < self._slots:
                task.set(ImageStatus.IMPORTING)
                task.ends = at + task.lasts

    def _is_open(self, task: _Task) -> bool:
        return task.image.status in {ImageStatus.WAITING, ImageStatus.IMPORTING}

    def _count(self, count: Count) -> None:
        self._counts[count] += 1
