"""What the fake of Gcore has, and how the API shows it: each field that its document requires."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

PROJECT = 11
CLIENT = 2
REGIONS = {76: "Luxembourg-2", 180: "Frankfurt-2"}
"""Those of a project unless a test says which ones."""

FLAVORS = {
    "g2-standard-2-4": "x86_64",
    "g2-standard-4-8": "x86_64",
    "g2a-ampere-2-4": "aarch64",
}


def region_name(number: int) -> str:
    """Return what a region is called where people read it."""
    return REGIONS.get(number, f"Region-{number}")


def uuid4(number: int) -> str:
    return str(UUID(int=number << 80, version=4))


@dataclass
class Volume:
    id: str
    region: int
    name: str
    size: int
    tags: dict[str, str]
    created: datetime
    delete_on_termination: bool
    instance: str | None
    image: str | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "bootable": True,
            "created_at": f"{self.created:%Y-%m-%dT%H:%M:%S}+0000",
            "is_root_volume": self.instance is not None,
            "tags": _tags(self.tags),
            "name": self.name,
            "project_id": PROJECT,
            "region": region_name(self.region),
            "region_id": self.region,
            "size": self.size,
            "status": "in-use" if self.instance else "available",
            "volume_type": "standard",
            "volume_image_metadata": {"image_id": self.image} if self.image else None,
            "attachments": [
                {"attachment_id": self.id, "volume_id": self.id, "server_id": self.instance}
            ]
            if self.instance
            else [],
        }


@dataclass
class Instance:
    """`user_data` is what cloud-init gets: None if a password was given."""

    id: str
    region: int
    name: str
    flavor: str
    tags: dict[str, str]
    user_data: bytes | None
    created: datetime
    creator: str
    status: str = "BUILD"
    task_state: str | None = None
    task: str | None = None
    addresses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def shown(self, volumes: Mapping[str, Volume]) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "created_at": f"{self.created:%Y-%m-%dT%H:%M:%S.%f}Z",
            "status": self.status,
            "vm_state": {"ACTIVE": "active", "BUILD": "building"}.get(self.status, "error"),
            "volumes": [
                {"id": each.id, "delete_on_termination": each.delete_on_termination}
                for each in volumes.values()
                if each.instance == self.id
            ],
            "flavor": {
                "flavor_id": self.flavor,
                "flavor_name": self.flavor,
                "vcpus": 2,
                "ram": 4096,
                "hardware_description": {"ram": "4 GiB", "vcpus": "2"},
                "os_type": "linux",
                "architecture": FLAVORS[self.flavor],
            },
            "tags": _tags(self.tags, by_provider={"image_name": "relight-base-20261101"}),
            "instance_description": None,
            "addresses": self.addresses,
            "security_groups": [{"name": "default"}],
            "ssh_key_name": None,
            "creator_task_id": self.creator,
            "task_state": self.task_state,
            "task_id": self.task,
            "blackhole_ports": [],
            "ddos_profile": None,
            "fixed_ip_assignments": None,
            "instance_isolation": None,
            "region": region_name(self.region),
            "region_id": self.region,
            "project_id": PROJECT,
        }


@dataclass
class Task:
    """A task: `start` and `finish` are what it does as it begins to run and as it ends."""

    id: str
    region: int
    type: str
    created: datetime
    data: dict[str, Any]
    start: Callable[["Task"], None]
    finish: Callable[["Task"], None]
    state: str = "NEW"
    changed: datetime | None = None
    error: str | None = None
    resources: dict[str, list[str]] | None = None
    never_starts: bool = False

    def shown(self) -> dict[str, Any]:
        has_ended = self.state in {"FINISHED", "ERROR"} and self.changed is not None
        return {
            "id": self.id,
            "task_type": self.type,
            "state": self.state,
            "user_id": 3,
            "client_id": CLIENT,
            "project_id": PROJECT,
            "region_id": self.region,
            # Without a time zone, as in the vendor's examples.
            "created_on": f"{self.created:%Y-%m-%dT%H:%M:%S.%f}",
            "finished_on": f"{self.changed:%Y-%m-%dT%H:%M:%S}" if has_ended else None,
            "data": self.data,
            "error": self.error,
            "created_resources": self.resources if self.state == "FINISHED" else None,
        }


@dataclass
class Image:
    """`visibility` is None where the API does not say it; `used` is whether something needs it."""

    id: str
    region: int
    name: str
    architecture: str = "x86_64"
    min_disk: int = 10
    created: str = "2026-10-01T14:51:26.570866"
    status: str = "active"
    tags: dict[str, str] = field(default_factory=dict)
    visibility: str | None = "private"
    creator: str | None = None
    used: bool = False

    def shown(self) -> dict[str, Any]:
        visibility = {} if self.visibility is None else {"visibility": self.visibility}
        return {
            "id": self.id,
            "name": self.name,
            "architecture": self.architecture,
            "min_disk": self.min_disk,
            "min_ram": 0,
            "status": self.status,
            **visibility,
            "os_distro": "debian",
            "os_version": "12",
            "os_type": "linux",
            "disk_format": "raw",
            "is_baremetal": False,
            "created_at": self.created,
            "updated_at": self.created,
            "tags_v2": _tags(self.tags),
            "creator_task_id": self.creator,
            "project_id": PROJECT,
            "region": region_name(self.region),
            "region_id": self.region,
            **dict.fromkeys(
                (
                    *("currency_code", "price_per_hour", "price_per_month", "price_status"),
                    *("description", "ssh_key", "display_order", "size"),
                    *("task_id", "hw_firmware_type", "hw_machine_type", "gpu_driver"),
                    *("gpu_driver_version", "gpu_driver_type"),
                )
            ),
        }


class RefusedError(Exception):
    """The API refuses a request."""

    def __init__(self, status: int, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"exception_class": kind, "message": message, **more}


def not_found(what: str, which: object) -> RefusedError:
    return RefusedError(404, "NotFoundError", f"{what} {which} could not be found")


def _tags(
    tags: Mapping[str, str], by_provider: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    added = by_provider or {}
    return [
        {"key": key, "value": value, "read_only": key in added}
        for key, value in {**added, **tags}.items()
    ]


def shown_project() -> dict[str, Any]:
    return {
        "id": PROJECT,
        "client_id": CLIENT,
        "name": "lantern",
        "description": None,
        "is_default": True,
        "state": "ACTIVE",
        "created_at": "2024-05-05T14:51:26.570866",
        "deleted_at": None,
        "task_id": None,
    }


def shown_flavors() -> list[dict[str, Any]]:
    return [
        {
            "flavor_id": name,
            "flavor_name": name,
            "architecture": architecture,
            "disabled": False,
            "hardware_description": {"ram": "4 GiB", "vcpus": "2"},
            "os_type": "linux",
            "ram": 4096,
            "vcpus": 2,
        }
        for name, architecture in FLAVORS.items()
    ]


def shown_region(number: int) -> dict[str, Any]:
    capabilities = ("ai", "ai_gpu", "baremetal", "basic_vm", "dbaas", "ddos", "k8s", "sfs")
    return {
        **{f"has_{name}": False for name in capabilities},
        "has_kvm": True,
        "id": number,
        "display_name": region_name(number),
        "keystone_name": f"ED-{number}",
        "keystone_id": number,
        "slug": region_name(number).lower(),
        "state": "ACTIVE",
        "country": "LU",
        "zone": "EMEA",
        "endpoint_type": "public",
        "access_level": "core",
        "created_at": "2019-12-31T23:59:59",
        "created_on": "2019-12-31T23:59:59",
        "vlan_physical_network": "br-ex",
        "available_volume_types": ["standard", "ssd_hiiops"],
        **dict.fromkeys(
            (
                *("coordinates", "external_network_id", "file_share_types"),
                *("metrics_database_id", "task_id", "ddos_endpoint_id"),
            )
        ),
    }
