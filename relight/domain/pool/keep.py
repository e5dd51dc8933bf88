"""Maintenance of a region's pool: the messages of its workflow and activities."""

from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag
from relight.domain.pool.pool import PoolAction
from relight.domain.proof import Proof


class KeepPoolInput(Message):
    """Bring a region's pool to its target."""

    provider: str
    region: str
    origin: Origin


class PoolKept(Message):
    """The result of the maintenance of a pool.

    Attributes:
        done: the completed steps, as in `create pool-lab-east-3`.
        left: the other steps, each with the reason.
    """

    provider: str
    region: str
    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class PlanPoolInput(Message):
    """Ask for the steps that the pool of a region needs now.

    Attributes:
        locked_out: as planned before in this run.
    """

    provider: str
    region: str
    locked_out: tuple[str, ...] = ()


class PoolWork(Message):
    """A step and its machine.

    Attributes:
        machine: as last observed; None if it was never observed.
    """

    action: PoolAction
    machine: Machine | None = None


class PoolPlanned(Message):
    """The steps in their order, without `keep`.

    Attributes:
        locked_out: keys of the pools' machines that lock the control plane out, if several do.
    """

    steps: tuple[PoolWork, ...]
    locked_out: tuple[str, ...] = ()


class PlanPoolMachineInput(Message):
    """Record the key of a new machine before it is created."""

    provider: str
    region: str
    release_tag: ReleaseTag
    origin: Origin


class PoolMachinePlanned(Message):
    """The key of the new machine."""

    key: str


class PoolMachineInput(Message):
    """Reserve a pool machine, so that no route claims it while it is changed or destroyed."""

    key: str
    origin: Origin


class PoolMachineTaken(Message):
    """Whether the machine is reserved; False if a route has claimed it."""

    taken: bool


class RecordPoolReadyInput(Message):
    """Record that a machine is proven and may be claimed."""

    machine: Machine
    proof: Proof
    origin: Origin


class RecordFailedTryInput(Message):
    """Count a failed try to make a machine ready at the pool's release."""

    provider: str
    region: str
    release_tag: ReleaseTag
    fault: Fault
    origin: Origin


class RecordPoolFaultInput(Message):
    """Record why a machine could not be prepared, or which fault was observed on it."""

    key: str
    fault: Fault
    origin: Origin
