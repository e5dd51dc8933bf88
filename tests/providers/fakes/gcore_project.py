"""What a project at Gcore does, without its API: tasks make and delete instances and volumes."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tests.providers.fakes.base import Trap, VendorFake
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.gcore_state import REGIONS, Image, Instance, Task, Volume, uuid4


class TaskTrap(StrEnum):
    """What goes wrong with tasks as long as the test leaves it on: `fake.task_traps.add(...)`."""

    FAILS = "a creation's task fails"
    QUOTA = "a creation's task fails by a quota"
    FAILS_WITH_VOLUME = "a creation's task fails, and its boot volume is left"
    NAMELESS = "the list of tasks does not say which instances they make"
    NOT_ON_TERMINATION = "a new volume is not marked to be deleted with its instance"
    NOT_DELETED = "a deletion's task ends, and nothing was deleted"
    DELETION_FAILS = "a deletion's task fails"
    FULL_AT_ONCE = "a creation without room is refused at once, and not by its task"


FAILURES = {
    Trap.CAPACITY: "No valid host was found. There are not enough hosts available.",
    TaskTrap.QUOTA: "Quota limit for volume_size exceeded by 20",
    TaskTrap.FAILS: "Volume did not become available: build aborted",
    TaskTrap.FAILS_WITH_VOLUME: "Instance failed to spawn: build aborted",
}


def _nothing(_: Task) -> None:
    """Do nothing."""


class GcoreProject(VendorFake):
    """One project.

    Attributes:
        regions: their numbers.
        task_traps: what goes wrong with tasks.
        waits: how long a task is NEW.
        works: how long a task is RUNNING.
    """

    def __init__(self, regions: Iterable[int] = REGIONS) -> None:
        super().__init__()
        self.regions = tuple(regions)
        self.task_traps: set[TaskTrap] = set()
        self.waits = self.works = timedelta(0)
        self.instances: dict[str, Instance] = {}
        self.volumes: dict[str, Volume] = {}
        self.tasks: dict[str, Task] = {}
        self._numbers = itertools.count(1)
        self.images = [
            Image(self.new_id(), region, name, **more)
            for region in self.regions
            for name, more in (
                ("debian-12-x64", {"min_disk": 5, "visibility": "public"}),
                ("relight-base-20261101", {"created": "2026-11-01T10:00:00.0"}),
                ("relight-base-20260901", {}),
                ("relight-base-20261101-arm64", {"architecture": "aarch64"}),
                ("relight-base-20261201", {"created": "2026-12-01T10:00:00", "status": "saving"}),
                ("old-relight-base-20261202", {"created": "2026-12-02T10:00:00"}),
            )
        ]

    # ------------------------------------------------------------------ what a test does

    def settle(self) -> None:
        """Let every task that can end do so."""
        while any(self.step(task) for task in self.tasks.values()):
            pass

    def start_late(self) -> None:
        """Let the tasks that never started do so."""
        for task in self.tasks.values():
            task.never_starts = False
        self.settle()

    def of(self, name: str) -> list[Instance]:
        """Return the instances of a name."""
        return [each for each in self.instances.values() if each.name == name]

    def add(self, name: str, region: int = 76, **tags: str) -> Instance:
        """Return an instance, with a boot volume, that another user of the project has created."""
        body = {"name": name, "flavor": "g2-standard-2-4", "tags": tags, "volumes": [{"size": 5}]}
        self.begin(self.creation(region, body, None))
        self.settle()
        return self.of(name)[-1]

    def new_id(self) -> str:
        return uuid4(next(self._numbers))

    # ------------------------------------------------------------------ creations and deletions

    def creation(self, region: int, body: dict[str, Any], user_data: bytes | None) -> Task:
        """Return the task of a creation: what was posted, and what of it is user-data."""
        name, flavor, volume = body["name"], body["flavor"], body["volumes"][0]
        traps = {Trap.CAPACITY} if self.is_full("", flavor) else set[Trap | TaskTrap]()
        failure = next((trap for trap in FAILURES if trap in traps | self.task_traps), None)
        marked = volume.get("delete_on_termination", False)
        marked = marked and TaskTrap.NOT_ON_TERMINATION not in self.task_traps

        def start(task: Task) -> None:
            if failure is not None and failure is not TaskTrap.FAILS_WITH_VOLUME:
                return
            instance = Instance(
                *(self.new_id(), region, name, flavor, body.get("tags", {}), user_data),
                *(self.now(), task.id),
            )
            boot = Volume(
                *(self.new_id(), region, volume.get("name", "boot"), volume["size"]),
                *(volume.get("tags", {}), self.now(), marked, instance.id),
                volume.get("image_id"),
            )
            self.volumes[boot.id] = boot
            self.bill.begin(Billed.VOLUME, boot.id, name, self.now())
            if failure is not None:
                boot.instance = None
                return
            self.instances[instance.id] = instance
            self.bill.begin(Billed.MACHINE, instance.id, name, self.now())
            task.resources = {"instances": [instance.id], "volumes": [boot.id], "ports": []}

        def finish(task: Task) -> None:
            task.error = FAILURES[failure] if failure is not None else None
            instance = self.instances.get((task.resources or {}).get("instances", [""])[0])
            if instance is not None:
                is_broken = Trap.STARTS_FAILED in self.traps
                instance.status = "ERROR" if is_broken else "ACTIVE"
                address = f"203.0.113.{next(self._numbers) % 250 + 1}"
                fixed = {"addr": address, "type": "fixed", "interface_name": None}
                instance.addresses = {} if is_broken else {"pub_net": [fixed]}

        return self.task(region, "create_vm", {"name": name, "flavor_name": flavor}, start, finish)

    def deletion(self, instance: Instance, volumes: Sequence[str]) -> Task:
        """Return the task that deletes an instance, and which of its volumes besides."""

        def start(task: Task) -> None:
            instance.task_state = "deleting"

        def finish(task: Task) -> None:
            instance.task = instance.task_state = None
            if TaskTrap.DELETION_FAILS in self.task_traps:
                task.error = "Port could not be unbound"
            elif TaskTrap.NOT_DELETED not in self.task_traps:
                del self.instances[instance.id]
                self.bill.end(Billed.MACHINE, instance.id, self.now())
                for volume in [v for v in self.volumes.values() if v.instance == instance.id]:
                    volume.instance = None
                    if volume.delete_on_termination or volume.id in volumes:
                        self._remove(volume)

        return self.task(instance.region, "delete_vm", {}, start, finish)

    def volume_deletion(self, volume: Volume) -> Task:
        """Return the task that deletes a volume."""
        return self.task(volume.region, "delete_volume", start=lambda task: self._remove(volume))

    def _remove(self, volume: Volume) -> None:
        if self.volumes.pop(volume.id, None) is not None:
            self.bill.end(Billed.VOLUME, volume.id, self.now())

    # ------------------------------------------------------------------ tasks

    def task(
        self,
        region: int,
        kind: str,
        data: dict[str, Any] | None = None,
        start: Callable[[Task], None] = _nothing,
        finish: Callable[[Task], None] = _nothing,
    ) -> Task:
        return Task(self.new_id(), region, kind, self.now(), data or {}, start, finish)

    def begin(self, task: Task) -> Any:
        self.tasks[task.id] = task
        return {"tasks": [task.id]}

    def step(self, task: Task) -> bool:
        """Take the next step of a task, if it has one and its time has come."""
        now = self.now()
        if task.state == "NEW" and not task.never_starts and now >= task.created + self.waits:
            task.state, task.changed = "RUNNING", now
            task.start(task)
            return True
        if task.state == "RUNNING" and now >= (task.changed or now) + self.works:
            task.changed = now
            task.finish(task)
            task.state = "FINISHED" if task.error is None else "ERROR"
            return True
        return False
