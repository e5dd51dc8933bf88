"""Servers, as nova describes them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, Field, IPvAnyAddress, JsonValue, StringConstraints

from relight.domain.machine import MachineStatus
from relight.providers.driver import ProviderError
from relight.providers.openstack.api import Link
from relight.providers.openstack.errors import fault_kind

SOFT_DELETED: Final = "SOFT_DELETED"
"""Deleted, and kept for a while with its volumes: it costs, and can be restored."""

DELETED: Final = "DELETED"

_STATUSES: Final[Mapping[str, MachineStatus]] = {
    "BUILD": MachineStatus.PROVISIONING,
    "REBUILD": MachineStatus.PROVISIONING,
    "ACTIVE": MachineStatus.RUNNING,
    # It runs, or will again by itself.
    "REBOOT": MachineStatus.RUNNING,
    "HARD_REBOOT": MachineStatus.RUNNING,
    "PASSWORD": MachineStatus.RUNNING,
    "MIGRATING": MachineStatus.RUNNING,
    "RESIZE": MachineStatus.RUNNING,
    "VERIFY_RESIZE": MachineStatus.RUNNING,
    "REVERT_RESIZE": MachineStatus.RUNNING,
    SOFT_DELETED: MachineStatus.DELETING,
    # It does not start by itself.
    "ERROR": MachineStatus.FAILED,
    "PAUSED": MachineStatus.FAILED,
    "RESCUE": MachineStatus.FAILED,
    "SHELVED": MachineStatus.FAILED,
    "SHELVED_OFFLOADED": MachineStatus.FAILED,
    "SHUTOFF": MachineStatus.FAILED,
    "SUSPENDED": MachineStatus.FAILED,
}
"""A status that is not here says nothing; nor does `UNKNOWN`, while the host's service is down."""

_DELETING: Final = frozenset({"deleting", "soft-deleting"})

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Address(BaseModel):
    """An address of a server; `kind` is `fixed` or `floating`."""

    addr: IPvAnyAddress
    version: int
    kind: str = Field(default="fixed", alias="OS-EXT-IPS:type")


class Fault(BaseModel):
    """Why a server is in `ERROR`."""

    message: str = ""


class UsedImage(BaseModel):
    """The image of a server."""

    id: Name


class Server(BaseModel):
    """A server as nova returns it.

    Attributes:
        host_id: of its host, hidden behind a hash; empty as long as it has none.
        launched_at: when it first ran.
        image: that it was made of; None if it boots from a volume.
    """

    id: Name
    name: Name
    status: Name
    created: AwareDatetime
    metadata: Mapping[str, str] = {}
    addresses: Mapping[str, Sequence[Address]] = {}
    fault: Fault | None = None
    host_id: str = Field(default="", alias="hostId")
    task_state: str | None = Field(default=None, alias="OS-EXT-STS:task_state")
    launched_at: str | None = Field(default=None, alias="OS-SRV-USG:launched_at")
    image: UsedImage | Literal[""] | None = None

    @property
    def machine_status(self) -> MachineStatus:
        """The status in our words."""
        if self.task_state in _DELETING:
            return MachineStatus.DELETING
        return _STATUSES.get(self.status, MachineStatus.PROVISIONING)

    @property
    def is_placed(self) -> bool:
        """Whether the search for a host has ended, with one or without."""
        return self.status != "BUILD" or bool(self.host_id)

    def address(self, *, is_floating: bool) -> str | None:
        """Return the address for SSH, an IPv4 one first; None if it has none yet.

        Args:
            is_floating: only a floating address is reachable.
        """
        all_addresses = [each for network in self.addresses.values() for each in network]
        usable = [each for each in all_addresses if each.kind == "floating" or not is_floating]
        usable.sort(key=lambda each: (each.kind != "floating", each.version))
        return str(usable[0].addr) if usable else None

    @property
    def refusal(self) -> type[ProviderError] | None:
        """Why it never ran, if another attempt may succeed, or a quota is the cause.

        A machine that has run is never one, whatever has become of it.
        """
        never_ran = self.status == "ERROR" and not self.launched_at
        return fault_kind(self.fault_words) if never_ran else None

    @property
    def fault_words(self) -> str:
        """Nova's words for why it failed; empty without any."""
        return "" if self.fault is None else self.fault.message


class ServerPage(BaseModel):
    """A page of a listing, with entries that are still to be understood."""

    servers: list[JsonValue]
    links: list[Link] = Field(default=[], alias="servers_links")


class ListedName(BaseModel):
    """An entry of the short listing. In a part of the cloud that is down, it has no name."""

    id: Name
    name: str | None = None


class CreatedServer(BaseModel):
    """The answer to a creation; it also has a password."""

    class _Id(BaseModel):
        id: Name

    server: _Id


class FoundServer(BaseModel):
    """The answer about one server."""

    server: Server


class Console(BaseModel):
    """The console's last lines."""

    output: str
