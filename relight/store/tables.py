"""The store's tables. What they hold is read and written through the areas of the store.

They change together with a migration in `fleet/migrations/versions`; a test compares the two.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, MetaData, text
from sqlmodel import Field, SQLModel

from relight.store.column_types import (
    NUMBER,
    AnyJson,
    AnyText,
)

CLAIMED = text("closed_at IS NULL")
BY_ACTIVITY = text("activity_id <> ''")
FAULTS = text("fault_kind IS NOT NULL")


class Row(SQLModel):
    """The base of the store's tables, with names for constraints that migrations can refer to."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
        }
    )


class TrackRow(Row, table=True):
    """A track."""

    __tablename__ = "tracks"

    name: str = Field(primary_key=True, sa_type=AnyText)
    release_override: str | None = Field(default=None, sa_type=AnyText)


class SettingRow(Row, table=True):
    """A setting of the whole fleet; one that is not set has no row."""

    __tablename__ = "settings"

    name: str = Field(primary_key=True, sa_type=AnyText)
    value: str = Field(sa_type=AnyText)


class ReleaseRow(Row, table=True):
    """A tag and what it was resolved to."""

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


class RouteRow(Row, table=True):
    """A route. `machine_key` is the machine that was last proven to serve it.

    It has no foreign key: `machines` refers to `routes`, and a circle could not be created by
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


class MachineRow(Row, table=True):
    """A machine, from the moment that its key was chosen.

    One of the pool has neither route nor generation until a route claims it. `planned_run_id` is
    the workflow run that chose the key; `held_run_id` the one that was given it last. They differ
    where a later run took up what an earlier one left, or claimed what the pool had made ready.
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


class PoolMachineRow(Row, table=True):
    """A machine of the pool. The row goes when a route claims it, or when it is destroyed."""

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


class PoolSizeRow(Row, table=True):
    """How many machines a region's pool should have ready; a region without a row has no pool."""

    __tablename__ = "pool_sizes"

    provider: str = Field(primary_key=True, sa_type=AnyText)
    region: str = Field(primary_key=True, sa_type=AnyText)
    size: int


class RouteRemediationRow(Row, table=True):
    """What was said and seen of a route that does not fare well.

    `given_back_at` is when a person last took it out of quarantine: what was tried before that
    is not held against it.
    """

    __tablename__ = "route_remediations"

    route_id: str = Field(primary_key=True, sa_type=AnyText, foreign_key="routes.route_id")
    quarantined_at: datetime | None = None
    quarantine_reason: str | None = Field(default=None, sa_type=AnyText)
    given_back_at: datetime | None = None
    asked_by: str | None = Field(default=None, sa_type=AnyText)
    asked_reason: str | None = Field(default=None, sa_type=AnyText)
    gone_since: datetime | None = None


class DisruptionRow(Row, table=True):
    """A route that somebody other than a rollout has out, or may take out at any moment."""

    __tablename__ = "disruptions"

    route_id: str = Field(primary_key=True, sa_type=AnyText, foreign_key="routes.route_id")
    workflow_id: str = Field(sa_type=AnyText)
    run_id: str = Field(sa_type=AnyText)
    reason: str = Field(sa_type=AnyText)
    taken_at: datetime


class BreakerRow(Row, table=True):
    """The breaker. There is one, and so there is one row."""

    __tablename__ = "breaker"

    breaker_id: int = Field(
        default=1, primary_key=True, sa_type=NUMBER, sa_column_kwargs={"autoincrement": False}
    )
    state: dict[str, Any] = Field(sa_type=AnyJson)


class BreakerOverrideRow(Row, table=True):
    """Somebody vouches for a group of machines.

    Its number is never given again: a removal that comes twice must not meet another override.
    """

    __tablename__ = "breaker_overrides"
    __table_args__ = ({"sqlite_autoincrement": True},)

    override_id: int | None = Field(default=None, primary_key=True, sa_type=NUMBER)
    group_name: str = Field(sa_type=AnyText)
    owner: str = Field(sa_type=AnyText)
    reason: str = Field(sa_type=AnyText)
    expires_at: datetime
    added_at: datetime


class ConnectivityCheckRow(Row, table=True):
    """The last look at a witness."""

    __tablename__ = "connectivity_checks"

    name: str = Field(primary_key=True, sa_type=AnyText)
    observed_at: datetime
    reached: bool
    answer: str = Field(sa_type=AnyText)


class RolloutRow(Row, table=True):
    """A rollout's claim on a scope. The database itself admits one open claim per scope."""

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


class RolloutRouteRow(Row, table=True):
    """A route in a rollout. `position` is its turn in its wave.

    It has no foreign key: what a rollout did is told also of routes that are gone since.
    """

    __tablename__ = "rollout_routes"
    __table_args__ = (
        Index("ix_rollout_routes_turn", "rollout_run_id", "wave", "progress", "position"),
    )

    rollout_run_id: str = Field(primary_key=True, sa_type=AnyText)
    route_id: str = Field(primary_key=True, sa_type=AnyText)
    wave: int
    position: int
    progress: str = Field(sa_type=AnyText)
    previous_release_tag: str | None = Field(default=None, sa_type=AnyText)
    fault: dict[str, Any] | None = Field(default=None, sa_type=AnyJson)


class FreezeRow(Row, table=True):
    """A freeze window. Of the routes that it covers, a column that is NULL asks nothing.

    Its number is never given again: a removal that comes twice must not meet another window.
    """

    __tablename__ = "freezes"
    __table_args__ = ({"sqlite_autoincrement": True},)

    freeze_id: int | None = Field(default=None, primary_key=True, sa_type=NUMBER)
    starts_at: datetime
    ends_at: datetime
    owner: str = Field(sa_type=AnyText)
    reason: str = Field(sa_type=AnyText)
    route_id: str | None = Field(default=None, sa_type=AnyText)
    provider: str | None = Field(default=None, sa_type=AnyText)
    region: str | None = Field(default=None, sa_type=AnyText)
    track: str | None = Field(default=None, sa_type=AnyText)
    added_at: datetime


class ExclusionRow(Row, table=True):
    """An exclusion, or a pin. Of the routes that it covers, a column that is NULL asks nothing.

    Its number is never given again: a removal that comes twice must not meet another exclusion.
    """

    __tablename__ = "exclusions"
    __table_args__ = ({"sqlite_autoincrement": True},)

    exclusion_id: int | None = Field(default=None, primary_key=True, sa_type=NUMBER)
    owner: str = Field(sa_type=AnyText)
    reason: str = Field(sa_type=AnyText)
    expires_at: datetime
    pinned_to: str | None = Field(default=None, sa_type=AnyText)
    route_id: str | None = Field(default=None, sa_type=AnyText)
    provider: str | None = Field(default=None, sa_type=AnyText)
    region: str | None = Field(default=None, sa_type=AnyText)
    track: str | None = Field(default=None, sa_type=AnyText)
    added_at: datetime


class EventRow(Row, table=True):
    """A line of the event log.

    Triggers refuse to change or remove one, and the unique index lets an activity's retries
    write a line of one kind once.
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
        # What happened lately is asked for again and again, of a log that only grows.
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
