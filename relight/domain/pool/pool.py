"""The pool: warm machines, installed and proven, that serve no route yet.

`plan_pool` (`planner.py`) decides the steps that a region's pool needs; `claimable` decides which
machine a route claims first.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.image.image import ImageName
from relight.domain.names import ReleaseTag
from relight.domain.pool.tries import PoolPolicy, PoolTries
from relight.domain.remediation import ReplacementPolicy
from relight.domain.route_history import ObservedFault


class PoolTarget(Message):
    """What the pool of one region of a provider should be.

    Attributes:
        size: how many machines should be ready.
        release_tag: what they should run; None if no release has passed: nothing is created then.
        release_reason: why it is that release, or why there is none; one sentence for a person.
        tries: the failed tries to make a machine ready at that release.
        policy: how often, and how soon after each other, that is tried.
        replacement: when a machine that cannot be reached is given up.
        blocked: why nothing may be changed now, only observed; None if it may.
        max_age: older machines are replaced by new ones.
        surge: how many machines may exist beyond `size` while old ones are replaced.
        prepare_for: how long the preparation of a machine may take.
        proof_lasts: how old a machine's proof may be before the machine is verified.
        max_preparing: how many machines are prepared at once.
        image_names: what new machines are made of, by architecture: those of another image are
            replaced by new ones. None: what the settings say of the location; without an entry no
            image is wrong.
    """

    provider: str
    region: str
    size: int = Field(ge=0)
    release_tag: ReleaseTag | None
    release_reason: str = ""
    tries: PoolTries = PoolTries()
    policy: PoolPolicy = PoolPolicy()
    replacement: ReplacementPolicy = ReplacementPolicy()
    blocked: str | None = None
    max_age: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    surge: int = Field(default=1, ge=1)
    prepare_for: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    proof_lasts: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))
    max_preparing: int = Field(default=2, ge=1)
    image_names: Mapping[str, ImageName | None] = {}


class PoolStatus(StrEnum):
    """The status of a pool machine. A claimed machine is no longer in the pool.

    `preparing`: it is being created or swapped. `ready`: it is proven and may be claimed.
    `faulted`: it could not be prepared, or its last observation found a fault. `leaving`: it is
    being destroyed.
    """

    PREPARING = "preparing"
    READY = "ready"
    FAULTED = "faulted"
    LEAVING = "leaving"


class PoolMachine(Message):
    """The record of a pool machine.

    Attributes:
        key: `pool-{provider}-{region}-{number}`.
        since: since when it has its status.
        created_at: when its key was chosen.
        architecture: None until it was observed at its provider.
        release_tag: what it was last proven to run, None before its first proof.
        silent_since: since when it has not answered the liveness probe, None if it does.
        faults: recent ones, in any order.
        gone_since: since when each listing of its provider lacks it; None if the last one had it.
        image_name: what it was made of; None: what the settings said of its location.
    """

    key: str
    provider: str
    region: str
    architecture: str | None = None
    status: PoolStatus
    since: AwareDatetime
    created_at: AwareDatetime
    release_tag: ReleaseTag | None = None
    proven_at: AwareDatetime | None = None
    silent_since: AwareDatetime | None = None
    gone_since: AwareDatetime | None = None
    faults: tuple[ObservedFault, ...] = ()
    image_name: ImageName | None = None

    @property
    def current_faults(self) -> tuple[ObservedFault, ...]:
        """The faults since its last proof, oldest first."""
        since = [each for each in self.faults if not self.proven_at or each.at > self.proven_at]
        return tuple(sorted(since, key=lambda fault: (fault.at, fault.kind, fault.fresh)))


class PoolStep(StrEnum):
    """A step of the pool's plan.

    `create`: create and prepare a new machine. `swap`: swap a machine to the release, in place.
    `verify`: prove it again. `recycle`: destroy it; a missing machine is created by another step.
    `keep`: leave it as it is.
    """

    CREATE = "create"
    SWAP = "swap"
    VERIFY = "verify"
    RECYCLE = "recycle"
    KEEP = "keep"


class PoolAction(Message):
    """One step, with its machine and reason.

    Attributes:
        key: the machine's; None for a machine to create, whose key is chosen later.
        reason: one sentence for a person.
        is_try: its failure counts as a failed try of the pool.
        unreachable: it is recycled because it could not be reached. The breaker counts that.
    """

    step: PoolStep
    provider: str
    region: str
    reason: str
    key: str | None = None
    release_tag: ReleaseTag | None = None
    is_try: bool = False
    unreachable: bool = False


def pool_machine_key(provider: str, region: str, number: int) -> str:
    """Return the key of a pool machine: its label at the provider and its host name."""
    return f"pool-{provider}-{region}-{number}"


def pool_workflow_id(provider: str, region: str) -> str:
    """Return the workflow id of every change of a region's pool. The id is the pool's lock."""
    return f"pool/{provider}/{region}"


def claimable(
    machines: Iterable[PoolMachine],
    release_tag: ReleaseTag,
    architecture: str | None = None,
    image_name: ImageName | None = None,
    stopped_images: Collection[ImageName] = (),
) -> tuple[str, ...]:
    """Return the keys of machines that a route may claim, the best first.

    Machines that already run the release come first, then the most recently proven ones. The store
    claims the first one that is still ready, in one transaction. The route swaps it to its release
    if needed, and proves it.

    Args:
        machines: those of the route's region, in any order.
        release_tag: what the route should run.
        architecture: the one that the route needs, None for any.
        image_name: what the machine has to be made of, None for any image.
        stopped_images: those that no machine is taken of, unless the name above asks for it.
    """
    ready = [
        machine
        for machine in machines
        if machine.status is PoolStatus.READY
        and machine.proven_at is not None
        and (machine.silent_since is None or machine.silent_since <= machine.proven_at)
        and architecture in (None, machine.architecture)
        and image_name in (None, machine.image_name)
        and (image_name is not None or machine.image_name not in stopped_images)
    ]
    last_proven_first = sorted(
        ready,
        key=lambda machine: (machine.proven_at or machine.created_at, machine.key),
        reverse=True,
    )
    best_first = sorted(last_proven_first, key=lambda each: each.release_tag != release_tag)
    return tuple(machine.key for machine in best_first)
