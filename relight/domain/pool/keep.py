"""The upkeep of a region's pool: what is looked at, what is done, what came of it."""

from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag
from relight.domain.pool.pool import PoolAction
from relight.domain.proof import Proof


class KeepPoolInput(Message):
    """Bring a region's pool to what it should be."""

    provider: str
    region: str
    origin: Origin


class PoolKept(Message):
    """What came of it.

    Attributes:
        done: each step that was taken, as in `create pool-lab-east-3`.
        left: each that was not, with the reason.
    """

    provider: str
    region: str
    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class PlanPoolInput(Message):
    """Ask what the pool of a region needs now."""

    provider: str
    region: str


class PoolWork(Message):
    """A step, and the machine that it is about.

    Attributes:
        machine: as it was seen last; None where nobody ever saw it.
    """

    action: PoolAction
    machine: Machine | None = None


class PoolPlanned(Message):
    """The steps in their order; what is left alone is not among them."""

    steps: tuple[PoolWork, ...]


class PlanPoolMachineInput(Message):
    """Write the key of a further machine down before it is created."""

    provider: str
    region: str
    release_tag: ReleaseTag
    origin: Origin


class PoolMachinePlanned(Message):
    """The key."""

    key: str


class OfPoolMachineInput(Message):
    """Take a machine out of the routes' reach, to change it or to destroy it."""

    key: str
    origin: Origin


class PoolMachineTaken(Message):
    """Whether it is out of their reach: a route may have claimed it since."""

    taken: bool


class RecordPoolReadyInput(Message):
    """Write down that a machine was proven, and may be claimed."""

    machine: Machine
    proof: Proof
    origin: Origin


class RecordPoolFaultInput(Message):
    """Write down why a machine could not be made ready."""

    key: str
    fault: Fault
    origin: Origin
