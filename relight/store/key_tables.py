"""The tables of key rotations. Only fingerprints and public keys are in them."""

from datetime import datetime
from typing import Any

from sqlmodel import Field

from relight.store.database import AnyJson, AnyText, AnyTime
from relight.store.tables import Row


class KeyRotationRow(Row, table=True):
    """The newest rotation of a kind of key."""

    __tablename__ = "key_rotations"

    kind: str = Field(primary_key=True, sa_type=AnyText)
    old_fingerprint: str = Field(sa_type=AnyText)
    old_public: str = Field(sa_type=AnyText)
    new_fingerprint: str = Field(sa_type=AnyText)
    new_public: str = Field(sa_type=AnyText)
    phase: str = Field(sa_type=AnyText)
    began_at: datetime = Field(sa_type=AnyTime)
    phase_since: datetime = Field(sa_type=AnyTime)


class MachineKeyRow(Row, table=True):
    """What is proven of a machine in an unfinished rotation. A finished one has no rows.

    `left`: a person lets the rotation go on without it.
    """

    __tablename__ = "machine_keys"

    kind: str = Field(primary_key=True, sa_type=AnyText)
    machine_key: str = Field(
        primary_key=True, sa_type=AnyText, foreign_key="machines.key", ondelete="CASCADE"
    )
    state: str | None = Field(default=None, sa_type=AnyText)
    visited_at: datetime | None = Field(default=None, sa_type=AnyTime)
    fault: dict[str, Any] | None = Field(default=None, sa_type=AnyJson)
    left: bool = False


class WorkerKeysRow(Row, table=True):
    """The keys that a worker reports to have, by kind. One that reports no more is deleted."""

    __tablename__ = "worker_keys"

    worker: str = Field(primary_key=True, sa_type=AnyText)
    keys: dict[str, Any] = Field(sa_type=AnyJson)
    seen_at: datetime = Field(sa_type=AnyTime)
