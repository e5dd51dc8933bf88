"""The store's tables, one model each. They are read and written through `Store`.

A change needs a migration in `relight/store/migrations/versions`; a test compares the two.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Index, MetaData, Table, text
from sqlmodel import Field, SQLModel
from sqlmodel.sql.sqltypes import UTCDateTime

from relight.store.database import NUMBER, AnyJson, AnyText, AnyTime

CLAIMED = text("closed_at IS NULL")
BY_ACTIVITY = text("activity_id <> ''")
FAULTS = text("fault_kind IS NOT NULL")


class Row(SQLModel):
    """The base of all tables; names constraints, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
        }
    )


class FleetRow(Row, table=True):
    """The fleet that the store is of. There is one row."""

    __tablename__ = "fleet"

    fleet_id: str = Field(primary_key=True, sa_type=AnyText)
    namespace_id: str | None = Field(default=None, sa_type=AnyText)


class TrackRow(Row, table=True):
    """A track."""

    __tablename__ = "tracks"

    name: str = Field(primary_key=True, sa_type=AnyText)
    release_override: str | None = Field(default=None, sa_type=AnyText)


class SettingRow(Row, table=True):
    """A setting of the whole fleet. A setting without value has no row."""

    __tablename__ = "settings"

    name: str = Field(primary_key=True, sa_type=AnyText)
    value: str = Field(sa_type=AnyText)


class ReleaseRow(Row, table=True):
    """A tag, and the version that it was resolved to."""

    __tablename__ = "releases"

    tag: str = Field(primary_key=True, sa_type=AnyText)
    version: str = Field(sa_type=AnyText)
    package: str = Field(sa_type=AnyText)
    source: str = Field(sa_type=AnyText)
    first_resolved_at: datetime


class DebFileRow(Row, table=True):
    """One .deb of a release."""

    __tablename__ = "deb_files"

    release_tag: str = Field(
        primary_key=True, sa_type=AnyText, foreign_key="releases.tag", ondelete="CASCADE"
    )
    architecture: str = Field(primary_key=True, sa_type=AnyText)
    filename: str = Field(sa_type=AnyText)
    sha256: str = Field(sa_type=AnyText)
    size_bytes: int = Field(sa_type=BigInteger)


class ConfigurationRow(Row, table=True):
    """A configuration of the service. It is never changed."""

    __tablename__ = "configurations"

    revision: str = Field(primary_key=True, sa_type=AnyText)
    content: dict[str, Any] = Field(sa_type=AnyJson)
    created_at: datetime
    requested_by: str = Field(sa_type=AnyText)
    reason: str = Field(sa_type=AnyText)


class RepositoryIndexRow(Row, table=True):
    """The date of the newest signed index that was seen of a repository."""

    __tablename__ = "repository_indexes"

    source: str = Field(primary_key=True, sa_type=AnyText)
    date: datetime


class RouteRow(Row, table=True):
    """A route. `machine_key` is the machine that was last proven to serve it.

    The key is no foreign key: `machines` refers to `routes`, and a cycle could not be created by
    one statement per table on both databases.
    """

    __tablename__ = "routes"

    route_id: str = Field(primary_key=True, sa_type=AnyText)
    track: str = Field(sa_type=AnyText, foreign_key="tracks.name", index=True)
    provider: str = Field(sa_type=AnyText)
    region: str = Field(sa_type=AnyText)
    status: str = Field(sa_type=AnyText)
    target_release_tag: str | None = Field(default=None, sa_type=AnyText)
    current_release_tag: str | None = Field(default=None, sa_type=AnyText)
    proven_at: datetime | None = None
    machine_key: str | None = Field(default=None, sa_type=AnyText, unique=True)
    fault: dict[str, Any] | None = Field(default=None, sa_type=AnyJson)
    newer_version: str | None = Field(default=None, sa_type=AnyText)


class RecordStatus(StrEnum):
    """The recorded state of a machine.

    `planned`: may or may not exist at its provider. `running`: was observed there. `draining`:
    another machine serves its route, and it is destroyed next. `kept`: it serves nothing, and a
    person keeps it. `lost`: no longer at its provider, though nobody destroyed it. `destroyed`:
    known not to exist.
    """

    PLANNED = "planned"
    RUNNING = "running"
    DRAINING = "draining"
    KEPT = "kept"
    LOST = "lost"
    DESTROYED = "destroyed"


class MachineRow(Row, table=True):
    """A machine, from the moment its key is planned.

    A machine of the pool has neither route nor generation until a route claims it.
    Its image is what it was made of, if that was a published one. `planned_run_id` is the workflow
    run that planned the key, `held_run_id` the run that last
    received it. They differ where a later run continued with a machine that an earlier one left
    behind, or claimed one from the pool.
    """

    __tablename__ = "machines"
    __table_args__ = (Index("uq_machines_generation", "route_id", "generation", unique=True),)

    key: str = Field(primary_key=True, sa_type=AnyText)
    route_id: str | None = Field(default=None, sa_type=AnyText, foreign_key="routes.route_id")
    generation: int | None = None
    provider: str = Field(sa_type=AnyText)
    provider_id: str | None = Field(default=None, sa_type=AnyText)
    region: str = Field(sa_type=AnyText)
    architecture: str | None = Field(default=None, sa_type=AnyText)
    address: str | None = Field(default=None, sa_type=AnyText)
    status: str = Field(sa_type=AnyText)
    user_data_sha256: str | None = Field(default=None, sa_type=AnyText)
    created_at: datetime
    destroyed_at: datetime | None = None
    planned_run_id: str = Field(sa_type=AnyText)
    held_run_id: str = Field(sa_type=AnyText)
    image_name: str | None = Field(default=None, sa_type=AnyText)
    image_id: str | None = Field(default=None, sa_type=AnyText)


class PoolMachineRow(Row, table=True):
    """A machine of the pool. The row is deleted when a route claims it or it is destroyed."""

    __tablename__ = "pool_machines"
    __table_args__ = (Index("ix_pool_machines_location", "provider", "region"),)

    key: str = Field(primary_key=True, sa_type=AnyText, foreign_key="machines.key")
    provider: str = Field(sa_type=AnyText)
    region: str = Field(sa_type=AnyText)
    status: str = Field(sa_type=AnyText)
    since: datetime
    created_at: datetime
    release_tag: str | None = Field(default=None, sa_type=AnyText)
    proven_at: datetime | None = None
    gone_since: datetime | None = None


class LivenessRow(Row, table=True):
    """Whether a machine answers. The row is deleted once the machine is probed no more."""

    __tablename__ = "machine_liveness"

    machine_key: str = Field(
        primary_key=True, sa_type=AnyText, foreign_key="machines.key", ondelete="CASCADE"
    )
    answers: bool
    since: datetime
    answered_at: datetime | None = None


class LivenessCheckRow(Row, table=True):
    """The last liveness check that has ended; only one row."""

    __tablename__ = "liveness_checks"

    check_id: int = Field(
        default=1, primary_key=True, sa_type=NUMBER, sa_column_kwargs={"autoincrement": False}
    )
    began_at: datetime
    machines: int
    silent: int
    not_probed: int
    offline: str = Field(sa_type=AnyText)


class PoolSizeRow(Row, table=True):
    """How many machines of a region's pool should be ready. Without a row there is no pool.

    The other columns are about its failed tries since a machine became ready: at which release, how
    many in a row, when the last one was, and its fault.
    """

    __tablename__ = "pool_sizes"

    provider: str = Field(primary_key=True, sa_type=AnyText)
    region: str = Field(primary_key=True, sa_type=AnyText)
    size: int
    failed_tries: int = 0
    tried_release_tag: str | None = Field(default=None, sa_type=AnyText)
    tried_at: datetime | None = None
    tried_fault: dict[str, Any] | None = Field(default=None, sa_type=AnyJson)


class RouteRemediationRow(Row, table=True):
    """What is recorded about a faulty route.

    `quarantine_ended_at` is when a person last ended its quarantine: earlier repairs and
    replacements do not count any more.
    """

    __tablename__ = "route_remediations"

    route_id: str = Field(primary_key=True, sa_type=AnyText, foreign_key="routes.route_id")
    quarantined_at: datetime | None = None
    quarantine_reason: str | None = Field(default=None, sa_type=AnyText)
    quarantine_ended_at: datetime | None = None
    replacement_requested_by: str | None = Field(default=None, sa_type=AnyText)
    replacement_reason: str | None = Field(default=None, sa_type=AnyText)
    gone_since: datetime | None = None


class DisruptionRow(Row, table=True):
    """A route that an operation has out, or may take out: one table for all operations."""

    __tablename__ = "disruptions"

    route_id: str = Field(primary_key=True, sa_type=AnyText, foreign_key="routes.route_id")
    workflow_id: str = Field(sa_type=AnyText)
    run_id: str = Field(sa_type=AnyText)
    reason: str = Field(sa_type=AnyText)
    taken_at: datetime


class BreakerRow(Row, table=True):
    """The breaker's state; only one row."""

    __tablename__ = "breaker"

    breaker_id: int = Field(
        default=1, primary_key=True, sa_type=NUMBER, sa_column_kwargs={"autoincrement": False}
    )
    state: dict[str, Any] = Field(sa_type=AnyJson)


class IncidentRow(Row, table=True):
    """An open incident of the control plane itself, by the kind of its fault."""

    __tablename__ = "incidents"

    kind: str = Field(primary_key=True, sa_type=AnyText)
    since: datetime
    summary: str = Field(sa_type=AnyText)


class ConnectivityCheckRow(Row, table=True):
    """The newest result of a connectivity check."""

    __tablename__ = "connectivity_checks"

    name: str = Field(primary_key=True, sa_type=AnyText)
    observed_at: datetime
    reached: bool
    answer: str = Field(sa_type=AnyText)


class RolloutRow(Row, table=True):
    """A rollout's claim on a scope. The unique index admits one open claim per scope.

    `run_id` is the id of its first run: it continues as new under the same identity. The columns
    from `wave` on say where it stands: `blocked_by` what its running wave waits for. One with an
    image replaces machines, and leaves releases as they are.
    """

    __tablename__ = "rollouts"
    __table_args__ = (
        Index(
            "uq_rollouts_open_scope",
            "scope",
            unique=True,
            sqlite_where=CLAIMED,
            postgresql_where=CLAIMED,
        ),
    )

    rollout_id: int | None = Field(default=None, primary_key=True, sa_type=NUMBER)
    workflow_id: str = Field(sa_type=AnyText, index=True)
    run_id: str = Field(sa_type=AnyText)
    release_tag: str = Field(sa_type=AnyText)
    scope: str = Field(sa_type=AnyText)
    phase: str = Field(sa_type=AnyText)
    detail: str = Field(sa_type=AnyText)
    opened_at: datetime
    closed_at: datetime | None = None
    wave: int = 0
    waves: int = 0
    since: datetime
    to_do: str = Field(default="", sa_type=AnyText)
    blocked_by: str = Field(default="", sa_type=AnyText)
    blocked_since: datetime | None = None
    image_name: str | None = Field(default=None, sa_type=AnyText)


class RolloutRouteRow(Row, table=True):
    """A route in a rollout. `position` is its order number in the rollout.

    `requeued` is how often an incident has requeued it: routes with a lower number go first.

    It has no foreign key: the history of a rollout outlives its routes.
    """

    __tablename__ = "rollout_routes"
    __table_args__ = (
        Index(
            "ix_rollout_routes_turn", "rollout_run_id", "wave", "progress", "requeued", "position"
        ),
    )

    rollout_run_id: str = Field(primary_key=True, sa_type=AnyText)
    route_id: str = Field(primary_key=True, sa_type=AnyText)
    wave: int
    position: int
    requeued: int = 0
    progress: str = Field(sa_type=AnyText)
    previous_release_tag: str | None = Field(default=None, sa_type=AnyText)
    fault: dict[str, Any] | None = Field(default=None, sa_type=AnyJson)


class HoldRow(Row, table=True):
    """A hold. A NULL column of its selector matches every route.

    Ids are never reused: a repeated removal must not remove another hold.
    """

    __tablename__ = "holds"
    __table_args__ = ({"sqlite_autoincrement": True},)

    hold_id: int | None = Field(default=None, primary_key=True, sa_type=NUMBER)
    kind: str = Field(sa_type=AnyText)
    starts_at: datetime
    ends_at: datetime
    owner: str = Field(sa_type=AnyText)
    reason: str = Field(sa_type=AnyText)
    route_id: str | None = Field(default=None, sa_type=AnyText)
    provider: str | None = Field(default=None, sa_type=AnyText)
    region: str | None = Field(default=None, sa_type=AnyText)
    track: str | None = Field(default=None, sa_type=AnyText)
    pinned_to: str | None = Field(default=None, sa_type=AnyText)
    added_at: datetime


class RetentionRow(Row, table=True):
    """From when on the event log is complete; only one row, none if it always was."""

    __tablename__ = "retention"

    retention_id: int = Field(
        default=1, primary_key=True, sa_type=NUMBER, sa_column_kwargs={"autoincrement": False}
    )
    pruned_before: datetime


class PermitRow(Row, table=True):
    """The permits that a worker has of a limit, until it renews or returns them."""

    __tablename__ = "permits"

    name: str = Field(primary_key=True, sa_type=AnyText)
    holder: str = Field(primary_key=True, sa_type=AnyText)
    count: int
    wanted: int
    expires_at: datetime


class EventRow(Row, table=True):
    """An event of the event log.

    Triggers refuse to change one, and to delete one that is not older than the retention. By the
    unique index, an activity writes one event of each kind, however often it is retried.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(
            "uq_events_activity",
            "run_id",
            "activity_id",
            "kind",
            unique=True,
            sqlite_where=BY_ACTIVITY,
            postgresql_where=BY_ACTIVITY,
        ),
        # Recent events are read often, from a log that only grows.
        Index("ix_events_lately", "kind", "at"),
        Index("ix_events_faults", "at", sqlite_where=FAULTS, postgresql_where=FAULTS),
        {"sqlite_autoincrement": True},
    )

    event_id: int | None = Field(default=None, primary_key=True, sa_type=NUMBER)
    at: datetime
    kind: str = Field(sa_type=AnyText, index=True)
    requested_by: str = Field(sa_type=AnyText)
    reason: str = Field(sa_type=AnyText)
    workflow_id: str = Field(sa_type=AnyText, index=True)
    run_id: str = Field(sa_type=AnyText)
    activity_id: str = Field(sa_type=AnyText)
    route_id: str | None = Field(default=None, sa_type=AnyText, index=True)
    machine_key: str | None = Field(default=None, sa_type=AnyText)
    release_tag: str | None = Field(default=None, sa_type=AnyText)
    fault_kind: str | None = Field(default=None, sa_type=AnyText)
    fault_class: str | None = Field(default=None, sa_type=AnyText)
    detail: dict[str, Any] = Field(sa_type=AnyJson)


def table_of(row: type[Row]) -> Table:
    """Return the table of a model, for plain statements."""
    table: Table = row.__table__  # type: ignore[attr-defined]
    return table


for _table in Row.metadata.tables.values():
    for _column in _table.columns:
        if isinstance(_column.type, UTCDateTime):
            _column.type = AnyTime()
