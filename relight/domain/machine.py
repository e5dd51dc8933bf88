"""Machines: one VM each, known by a key that is chosen before it is created."""

from enum import StrEnum

from relight.domain.base import Message
from relight.domain.names import (
    RouteId,
    TrackName,
    key_number,
)
from relight.domain.release import DebFile


class MachineStatus(StrEnum):
    """What a provider says of a machine."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    DELETING = "deleting"
    FAILED = "failed"


class MachineRef(Message):
    """Enough to name one VM beyond doubt.

    Attributes:
        key: its label at the provider, `{route_id}-g{generation}` or
            `pool-{provider}-{region}-{number}`.
        provider: the driver's name, as in `lab`.
        provider_id: the provider's own id of it.
    """

    key: str
    provider: str
    provider_id: str


class Machine(MachineRef):
    """A VM as its provider describes it.

    Attributes:
        region: the provider's name of where it stands.
        architecture: Debian's name of its processor's, as in `amd64`.
        status: what the provider says of it.
        address: where SSH answers, None until it has one.
    """

    region: str
    architecture: str
    status: MachineStatus
    address: str | None = None

    @property
    def ref(self) -> MachineRef:
        """The machine's name alone."""
        return MachineRef(key=self.key, provider=self.provider, provider_id=self.provider_id)


class MachinePlan(Message):
    """A machine that is to be: all that its user-data and its creation need, and no secret.

    Attributes:
        key: chosen before it is created: the idempotency key of create, adopt and destroy.
        route_id: the route that it will serve, None for a machine of the pool.
        track: the route's, None for a machine of the pool.
        provider: the driver's name.
        region: the provider's name of where it shall stand.
        release_version: the exact Debian version that cloud-init installs.
        artifact: the .deb of it for the machine's architecture; None where apt finds it.
    """

    key: str
    route_id: RouteId | None
    track: TrackName | None
    provider: str
    region: str
    release_version: str
    deb_file: DebFile | None = None

    @property
    def generation(self) -> int:
        """What the machine is tagged with: the number of its key, for all its life."""
        return key_number(self.key)


class Region(Message):
    """A place where a provider sells machines.

    Attributes:
        architecture: Debian's name of the processors there, as in `amd64`.
    """

    provider: str
    name: str
    architecture: str


class DescribeRegionInput(Message):
    """Ask the provider for a region; refuse one that it does not have."""

    provider: str
    region: str


class RenderCloudInitInput(Message):
    """Render the user-data of `plan`, to see that it can be before a machine is paid for."""

    plan: MachinePlan


class CloudInitRendered(Message):
    """What may be told of user-data: it holds a private key, so it never leaves its activity."""

    sha256: str
    size_bytes: int


class CreateMachineInput(Message):
    """Create the machine of `plan`, or adopt the one that has its key.

    Attributes:
        plan: the machine that is to be.
        user_data_sha256: of the user-data that was rendered for it.
    """

    plan: MachinePlan
    user_data_sha256: str


class AwaitMachineInput(Message):
    """Wait until the provider says that the machine runs and has an address."""

    machine: MachineRef


class AwaitFirstBootInput(Message):
    """Wait until cloud-init has ended on the machine; its failure is a fault with its text."""

    machine: Machine


class FirstBootFinished(Message):
    """How a machine's first boot went.

    Attributes:
        boot_id: the kernel's id of this boot.
        steps: each first-boot step that ran, in order.
        recoverable_errors: what cloud-init grumbled about without failing.
    """

    boot_id: str
    steps: tuple[str, ...]
    recoverable_errors: tuple[str, ...] = ()


class DestroyMachineInput(Message):
    """Destroy the machine that has this key at this provider. Absent is success.

    A machine of this key that is another one, or not tagged as ours, is left alone.

    Attributes:
        provider: the driver's name.
        key: the machine's label.
        provider_id: its id there, None where creation may not have answered.
        generation: what it is tagged with, None for the number of its key. This is not its
            route's generation where it came from the pool.
    """

    provider: str
    key: str
    provider_id: str | None = None
    generation: int | None = None


class MachineDestroyed(Message):
    """The provider says that no machine has this key any more.

    Attributes:
        was_present: it was there when it was first looked for.
    """

    key: str
    was_present: bool
