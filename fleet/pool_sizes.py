"""How many warm machines each region should have: operators say so."""

from pydantic import Field
from sqlmodel import select

from fleet.checking import naming
from fleet.database import Database
from fleet.operation import Operation
from fleet.tables import PoolSizeRow
from fleet.writing import write
from messages.base import Message

POOL_SIZE_SET = "pool-size-set"


class PoolSize(Message):
    """How many machines of a region's pool should be ready."""

    provider: str = Field(min_length=1)
    region: str = Field(min_length=1)
    size: int = Field(ge=0)


class PoolSizes:
    """A region has a pool from the first time that its size is set."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, provider: str, region: str, size: int, operation: Operation) -> None:
        """Say how many machines of a region's pool should be ready; 0 empties it.

        Raises:
            BadValueError: it is no size, or of no region.
        """
        with naming(f"pool {provider}/{region}"):
            wanted = PoolSize(provider=provider, region=region, size=size)
        with write(self._database, operation, POOL_SIZE_SET) as w:
            if w.earlier:
                return
            row = w.session.get(PoolSizeRow, (provider, region))
            previous = row.size if row else None
            row = row or PoolSizeRow(provider=provider, region=region, size=size)
            row.size = size
            w.session.add(row)
            w.log(detail={**wanted.model_dump(), "previous": previous})

    def list(self) -> list[PoolSize]:
        """Return what every pool should be, by provider and region.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        query = select(PoolSizeRow).order_by(PoolSizeRow.provider, PoolSizeRow.region)
        with self._database.reading() as session:
            return [_size(row) for row in session.exec(query)]


def _size(row: PoolSizeRow) -> PoolSize:
    with naming(f"pool {row.provider}/{row.region}"):
        return PoolSize.model_validate(row.model_dump())
