"""The size of each region's pool, and its failed tries to make a machine ready."""

from pydantic import Field
from sqlmodel import select

from relight.domain.base import Message
from relight.domain.fault.fault import Fault
from relight.domain.names import ReleaseTag
from relight.domain.pool.tries import PoolPolicy, PoolTries, is_stopped
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.events import Operation, write
from relight.store.rows import validating
from relight.store.tables import PoolSizeRow

POOL_SIZE_SET = "pool-size-set"
POOL_TRY_FAILED = "pool-try-failed"
POOL_STOPPED = "pool-stopped"
POOL_RETRIED = "pool-retried"


class PoolSize(Message):
    """How many machines of a region's pool should be ready, and the failed tries."""

    provider: str = Field(min_length=1)
    region: str = Field(min_length=1)
    size: int = Field(ge=0)
    tries: PoolTries = PoolTries()


class PoolSizes:
    """The sizes of the pools. A region has a pool from the first time that its size is set."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, provider: str, region: str, size: int, operation: Operation) -> None:
        """Set how many machines of a region's pool should be ready; 0 empties it.

        Raises:
            BadValueError: the size or the region is invalid.
        """
        with validating(f"pool {provider}/{region}"):
            desired = PoolSize(provider=provider, region=region, size=size)
        with write(self._database, operation, POOL_SIZE_SET) as w:
            if w.earlier:
                return
            row = w.session.get(PoolSizeRow, (provider, region))
            previous = row.size if row else None
            row = row or PoolSizeRow(provider=provider, region=region, size=size)
            row.size = size
            w.session.add(row)
            detail = desired.model_dump(include={"provider", "region", "size"})
            w.log(detail={**detail, "previous": previous})

    def list(self) -> list[PoolSize]:
        """Return every pool, by provider and region. An invalid one is noted and left out."""
        query = select(PoolSizeRow).order_by(PoolSizeRow.provider, PoolSizeRow.region)
        with self._database.reading() as session:
            return read_good(session.exec(query), size_of)

    def record_failed_try(
        self,
        provider: str,
        region: str,
        release_tag: ReleaseTag,
        fault: Fault,
        policy: PoolPolicy,
        operation: Operation,
    ) -> None:
        """Count a failed try to make a machine ready at a release.

        A region without a size has no pool that could stop: only the event is written. The try that
        stops the pool writes a second one, for a person to read.
        """
        with write(self._database, operation, POOL_TRY_FAILED) as w:
            if w.earlier:
                return
            row = w.session.get(PoolSizeRow, (provider, region))
            before = size_of(row).tries.of(release_tag) if row else PoolTries()
            tries = PoolTries(
                release_tag=release_tag, failed=before.failed + 1, last_at=w.at, fault=fault.brief
            )
            detail = {"provider": provider, "region": region, "failed": tries.failed}
            if row is not None:
                _write_tries(row, tries)
                w.session.add(row)
            w.log(release_tag=release_tag, fault=fault, detail=detail)
            if row is not None and is_stopped(tries, policy) and not is_stopped(before, policy):
                w.log(kind=POOL_STOPPED, release_tag=release_tag, detail=detail)

    def retry(self, provider: str, region: str, operation: Operation) -> bool:
        """Forget the failed tries of a pool, so that it tries again; return whether it has a size.

        It does not say whether there were failed tries.
        """
        with write(self._database, operation, POOL_RETRIED) as w:
            row = w.session.get(PoolSizeRow, (provider, region))
            if row is None or w.earlier:
                return row is not None
            failed = row.failed_tries
            _write_tries(row, PoolTries())
            w.session.add(row)
            w.log(detail={"provider": provider, "region": region, "failed": failed})
            return True


def forget_tries(row: PoolSizeRow | None, release_tag: ReleaseTag) -> None:
    """Forget the failed tries of a release: a machine has become ready at it."""
    if row is not None and row.tried_release_tag == release_tag:
        _write_tries(row, PoolTries())


def size_of(row: PoolSizeRow) -> PoolSize:
    """Return a row's size of a pool, with its tries."""
    with validating(f"pool {row.provider}/{row.region}"):
        return PoolSize.model_validate(
            {
                "provider": row.provider,
                "region": row.region,
                "size": row.size,
                "tries": {
                    "release_tag": row.tried_release_tag,
                    "failed": row.failed_tries,
                    "last_at": row.tried_at,
                    "fault": row.tried_fault,
                },
            }
        )


def _write_tries(row: PoolSizeRow, tries: PoolTries) -> None:
    row.tried_release_tag, row.failed_tries = tries.release_tag, tries.failed
    row.tried_at = tries.last_at
    row.tried_fault = tries.fault.model_dump(mode="json") if tries.fault else None
