"""The pool: warm machines, installed and proven, that serve no route yet."""

from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from messages.base import Message
from messages.names import ReleaseTag


class PoolTarget(Message):
    """What the pool of one region of a provider should be.

    Attributes:
        size: how many machines are ready to be claimed.
        release_tag: what they should run; None where nothing declares it: nothing is made then.
        max_age: a machine older than this is replaced by a new one.
        surge: how many machines there may be beyond `size` while new ones take the place of old.
        prepare_for: how long a machine may take until it is ready.
        proof_lasts: how old a machine's proof may be before it is proven again.
        at_once: how many machines are made ready at one time.
    """

    provider: str
    region: str
    size: int = Field(ge=0)
    release_tag: ReleaseTag | None
    max_age: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    surge: int = Field(default=1, ge=1)
    prepare_for: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    proof_lasts: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))
    at_once: int = Field(default=2, ge=1)


class PoolStatus(StrEnum):
    """Where a machine of the pool is. One that was claimed is its route's, and not the pool's.

    `preparing`: it is being created, or brought to another release. `ready`: it was proven and may
    be claimed. `faulted`: it could not be made ready. `leaving`: it is on its way to its end.
    """

    PREPARING = "preparing"
    READY = "ready"
    FAULTED = "faulted"
    LEAVING = "leaving"


class PoolMachine(Message):
    """A machine of the pool, as it is on record.

    Attributes:
        key: `pool-{provider}-{region}-{number}`.
        since: since when it has its status.
        created_at: when its key was chosen.
        release_tag: what it was last proven to run, None before its first proof.
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


class PoolStep(StrEnum):
    """What is done about the pool.

    `create`: make a further machine ready. `swap`: bring a machine to the release, in place.
    `prove`: look at it again. `recycle`: destroy it; if it is missed, a new one was made or will
    be. `keep`: leave it.
    """

    CREATE = "create"
    SWAP = "swap"
    PROVE = "prove"
    RECYCLE = "recycle"
    KEEP = "keep"


class PoolAction(Message):
    """One step about the pool.

    Attributes:
        key: the machine's; None for one that is to be created: its key is chosen when it is.
        reason: one sentence for a person.
    """

    step: PoolStep
    provider: str
    region: str
    reason: str
    key: str | None = None
    release_tag: ReleaseTag | None = None


def pool_machine_key(provider: str, region: str, number: int) -> str:
    """Return the key of a pool's machine: its label at the provider and its host name."""
    return f"pool-{provider}-{region}-{number}"


def pool_workflow_id(provider: str, region: str) -> str:
    """Return the id under which a region's pool is changed: the id is the pool's lock."""
    return f"pool/{provider}/{region}"
