"""Machines: one VM each, identified by a key that is chosen before the VM is created."""

from enum import StrEnum

from pydantic import AwareDatetime

from relight.domain.base import Message
from relight.domain.image.image import ImageName
from relight.domain.names import DebianVersion, Revision, RouteId, TrackName, key_number
from relight.domain.release import DebFile


class MachineStatus(StrEnum):
    """The status that a provider reports for a machine."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    DELETING = "deleting"
    FAILED = "failed"


class MachineRef(Message):
    """Identifies one VM.

    Attributes:
        key: its label at the provider, `{route_id}-g{generation}` or
            `pool-{provider}-{region}-{number}`.
        provider: the driver's name, as in `lab`.
        provider_id: its id at the provider.
    """

    key: str
    provider: str
    provider_id: str


class Machine(MachineRef):
    """A VM as its provider describes it.

    Attributes:
        region: the provider's name of its region.
        architecture: Debian name, as in `amd64`.
        status: as the provider reports it.
        address: IP address for SSH, None until it has one.
    """

    region: str
    architecture: str
    status: MachineStatus
    address: str | None = None

    @property
    def ref(self) -> MachineRef:
        """The identity of the machine, without its state."""
        return MachineRef(key=self.key, provider=self.provider, provider_id=self.provider_id)


class MachineAtProvider(Machine):
    """A machine as its provider lists it, with our tags.

    Attributes:
        owner: its ownership tag, None without one. It names one control plane's fleet, so that two
            control planes that share an account leave each other's machines alone.
        generation: as in its tag; None without one.
        created_by: the run that created it, as in its tag; None without one.
        created_at: when it was created, None if the provider does not report it.
    """

    owner: str | None = None
    generation: int | None = None
    created_by: str | None = None
    created_at: AwareDatetime | None = None

    @property
    def machine(self) -> Machine:
        """The machine without its tags."""
        return Machine.model_validate(self.model_dump(include=set(Machine.model_fields)))


class RecordedAs(StrEnum):
    """The status of a machine on record.

    `planned`: it may or may not exist. `running`: it was observed at its provider. `lost`: its
    provider no longer had it. `destroyed`: it was destroyed, and confirmed to be absent.
    """

    PLANNED = "planned"
    RUNNING = "running"
    LOST = "lost"
    DESTROYED = "destroyed"


class MachineOnRecord(Message):
    """Our record of a machine.

    Attributes:
        generation: the number of its key.
        provider_id: None until it was observed.
        route_id: the route that it was created for or claimed by; None in the pool.
        serves: whether it is its route's current machine.
        draining: another machine has replaced it, or its route is retired: it is destroyed next.
        kept: it serves nothing, and a person keeps it.
        recorded_at: when its key was recorded.
        gone_since: since when each listing of its provider lacks it, if it serves or is in the
            pool; None if the last one had it.
        in_pool: whether it is in the pool.
    """

    key: str
    generation: int
    provider: str
    region: str
    provider_id: str | None
    recorded_as: RecordedAs
    recorded_at: AwareDatetime
    route_id: RouteId | None = None
    serves: bool = False
    draining: bool = False
    kept: bool = False
    gone_since: AwareDatetime | None = None
    in_pool: bool = False


class MachineImage(Message):
    """The published image that a machine is made of.

    Attributes:
        name: of the image.
        image_id: at the provider, in the machine's region.
    """

    name: ImageName
    image_id: str


class MachinePlan(Message):
    """A machine to create: the input of its user-data and its creation, without secrets.

    Attributes:
        key: chosen before creation; the idempotency key of create, adopt and destroy.
        route_id: the route that it will serve, None for a pool machine.
        track: the route's track, None for a pool machine.
        provider: name of the provider's driver.
        region: the provider's name of the region.
        release_version: the exact Debian version that cloud-init installs.
        deb_file: the .deb for the machine's architecture; None if apt finds it in its source.
        configuration: the revision of the service's configuration, which it gets at the first
            login; None: cloud-init writes the files of the settings.
        image: what it is made of; None: what the settings say of its location.
    """

    key: str
    route_id: RouteId | None
    track: TrackName | None
    provider: str
    region: str
    release_version: DebianVersion
    deb_file: DebFile | None = None
    configuration: Revision | None = None
    image: MachineImage | None = None

    @property
    def generation(self) -> int:
        """The generation in the machine's tag: the number of its key. It never changes."""
        return key_number(self.key)


class Region(Message):
    """A region of a provider.

    Attributes:
        architecture: Debian name of its machines' architecture, as in `amd64`.
    """

    provider: str
    name: str
    architecture: str


class DescribeRegionInput(Message):
    """Describe a region; refuse one that the provider does not have."""

    provider: str
    region: str


class RenderCloudInitInput(Message):
    """Render the user-data of `plan`, to find errors before a machine is paid for."""

    plan: MachinePlan


class CloudInitRendered(Message):
    """Digest and size of user-data. It holds a private key, so it never leaves its activity."""

    sha256: str
    size_bytes: int


class CheckNewKeyInput(Message):
    """Check that no machine has the next key of a route, or of a region's pool; or refuse.

    Attributes:
        route_id: None for the pool.
    """

    provider: str
    region: str
    route_id: RouteId | None = None


class CreateMachineInput(Message):
    """Create the machine of `plan`, or adopt an existing one with its key.

    Attributes:
        plan: the machine to create.
        user_data_sha256: digest of the user-data that was rendered for it.
    """

    plan: MachinePlan
    user_data_sha256: str


class AwaitMachineInput(Message):
    """Wait until the provider reports that the machine runs and has an address.

    Attributes:
        region: of the machine; None lists all regions.
    """

    machine: MachineRef
    region: str | None = None


class AwaitFirstBootInput(Message):
    """Wait until cloud-init has ended on the machine. If it failed, a fault has its output.

    Attributes:
        plan: of the machine, whose service is started at the end. None where cloud-init starts it,
            as Relight of before had planned.
        deb_file: the package of such a machine.
    """

    machine: Machine
    plan: MachinePlan | None = None
    deb_file: DebFile | None = None


class FirstBootFinished(Message):
    """The result of a machine's first boot.

    Attributes:
        boot_id: the kernel's id of this boot.
        steps: the first-boot steps that ran, in order.
        recoverable_errors: cloud-init's warnings.
    """

    boot_id: str
    steps: tuple[str, ...]
    recoverable_errors: tuple[str, ...] = ()
