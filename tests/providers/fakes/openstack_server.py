"""Servers of the fake OpenStack, as they change with time."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.providers.fakes.machines import Machines, Power

SCHEDULING = timedelta(seconds=0.05)
"""After this nova has a host, or none."""

STARTING = timedelta(seconds=0.15)
DELETING = timedelta(seconds=0.1)
STATUSES = {Power.BOOTING: "BUILD", Power.ON: "ACTIVE", Power.OFF: "SHUTOFF"}
_VM_STATES = {"ACTIVE": "active", "BUILD": "building", "SHUTOFF": "stopped"}
_SHUT_DOWN = 4
NO_HOST = "No valid host was found. There are not enough hosts available."


@dataclass
class FakeServer:
    """One server.

    Attributes:
        body: of the request that made it.
        behind: what runs if it has a host.
        fails_with: the fault that comes instead of a host, or of a start; empty: it runs.
        has_host: whether a host is found before it fails.
        starts: whether it ever runs.
        deleted_at: when its deletion was requested.
        soft: whether the deletion leaves it restorable.
        is_hidden: whether its part of the cloud is down.
    """

    body: Mapping[str, Any]
    project: str
    region: str
    created_at: datetime
    behind: Machines = field(default_factory=Machines)
    fails_with: str = ""
    has_host: bool = True
    starts: bool = True
    deleted_at: datetime | None = None
    soft: bool = False
    is_hidden: bool = False
    is_locked: bool = False
    volume_id: str | None = None
    floating: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def name(self) -> str:
        return str(self.body["name"])

    @property
    def tags(self) -> list[str]:
        return list(self.body.get("tags", ()))

    @property
    def takes_volume_along(self) -> bool:
        """Whether its boot volume ends with it: cinder keeps a volume unless that is asked for."""
        volumes = self.body.get("block_device_mapping_v2", ())
        return all(each.get("delete_on_termination", False) for each in volumes)

    def is_gone(self, now: datetime) -> bool:
        if self.deleted_at is None or self.soft or now < self.deleted_at + DELETING:
            return False
        return not self.has_host or self.behind.is_gone(self.id)

    def status(self, now: datetime) -> str:
        if self.deleted_at is not None and self.soft:
            return "SOFT_DELETED"
        age = now - self.created_at
        if age < SCHEDULING:
            return "BUILD"
        if self.fails_with:
            return "ERROR"
        is_started = self.starts and age >= STARTING
        return STATUSES[self.behind.power(self.id)] if is_started else "BUILD"

    def partial(self) -> dict[str, Any]:
        """As of a part of the cloud that is down."""
        return {
            "id": self.id,
            "status": "UNKNOWN",
            "tenant_id": self.project,
            "created": f"{self.created_at:%Y-%m-%dT%H:%M:%SZ}",
            "links": [],
        }

    def details(self, now: datetime) -> dict[str, Any]:
        status = self.status(now)
        is_placed = self.has_host and now - self.created_at >= SCHEDULING
        has_run = status in {"ACTIVE", "SHUTOFF", "SOFT_DELETED"}
        task = None if status != "BUILD" else "spawning" if is_placed else "scheduling"
        image = self.body.get("imageRef")
        details = {
            **self.partial(),
            "name": self.name,
            "status": status,
            "user_id": "u-1",
            "updated": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "hostId": "8f0a" * 14 if is_placed else "",
            "image": {"id": image, "links": []} if image else "",
            "flavor": {
                "vcpus": 1,
                "ram": 1024,
                "disk": 10,
                "ephemeral": 0,
                "swap": 0,
                "original_name": self.body["flavorRef"],
                "extra_specs": {},
            },
            "metadata": dict(self.body.get("metadata", {})),
            "tags": self.tags,
            "addresses": self._addresses() if is_placed else {},
            "OS-EXT-AZ:availability_zone": self.body.get("availability_zone", ""),
            "OS-EXT-STS:task_state": "deleting" if self.deleted_at and not self.soft else task,
            "OS-EXT-STS:vm_state": _VM_STATES.get(status, "error"),
            "OS-EXT-STS:power_state": _SHUT_DOWN if status == "SHUTOFF" else int(has_run),
            "OS-SRV-USG:launched_at": f"{now:%Y-%m-%dT%H:%M:%S.000000}" if has_run else None,
            "OS-SRV-USG:terminated_at": None,
            "key_name": None,
            "config_drive": "True" if self.body.get("config_drive") else "",
            "security_groups": list(self.body.get("security_groups", [{"name": "default"}])),
            "os-extended-volumes:volumes_attached": [
                {"id": each, "delete_on_termination": self.takes_volume_along}
                for each in [self.volume_id]
                if each
            ],
        }
        if status == "ERROR":
            created = details["created"]
            details["fault"] = {"code": 500, "created": created, "message": self.fails_with}
        return details

    def _addresses(self) -> dict[str, Any]:
        fixed = self.behind.address(self.id, "192.0.2.10")
        found = [("fixed", fixed)] + ([("floating", self.floating)] if self.floating else [])
        return {
            "private": [
                {
                    "addr": address,
                    "version": 4,
                    "OS-EXT-IPS:type": kind,
                    "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01",
                }
                for kind, address in found
            ]
        }
