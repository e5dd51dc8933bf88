"""Find the invalid rows of all tables, repair one, or delete one."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from relight.domain.rollout.rollout import RolloutStanding
from relight.store.bad_rows import BadRow, key_of
from relight.store.breaker import breaker_of, result_of
from relight.store.configurations import record_of as configuration_of
from relight.store.database import AnyJson, AnyTime, Database
from relight.store.declarations import rollout_of, track_of
from relight.store.disruptions import disruption_of
from relight.store.errors import BadValueError
from relight.store.events import Operation, event_of, write
from relight.store.fleet_settings import setting_of
from relight.store.holds import record_of as hold_of
from relight.store.image_tables import ImageRow, PublishedImageRow
from relight.store.images import in_region_of, manifest_of
from relight.store.key_rotations import machine_keys_of, rotation_of
from relight.store.key_tables import KeyRotationRow, MachineKeyRow, WorkerKeysRow
from relight.store.machines import record_of as machine_record_of
from relight.store.permits import lease_of
from relight.store.pool import member_of
from relight.store.pool_sizes import size_of
from relight.store.releases import deb_file_of, release_of
from relight.store.remediations import check_remediation
from relight.store.route_outcomes import outcome_of
from relight.store.rows import read_row, route_of
from relight.store.tables import (
    BreakerRow,
    ConfigurationRow,
    ConnectivityCheckRow,
    DebFileRow,
    DisruptionRow,
    EventRow,
    FleetRow,
    HoldRow,
    IncidentRow,
    LivenessCheckRow,
    LivenessRow,
    MachineRow,
    PermitRow,
    PoolMachineRow,
    PoolSizeRow,
    ReleaseRow,
    RepositoryIndexRow,
    RetentionRow,
    RolloutRouteRow,
    RolloutRow,
    RouteRemediationRow,
    RouteRow,
    Row,
    SettingRow,
    TrackRow,
    table_of,
)
from relight.store.worker_keys import worker_keys_of

ROW_REPAIRED, ROW_REMOVED = "row-repaired", "row-removed"

_BATCH_SIZE = 1000
_TIME: TypeAdapter[datetime] = TypeAdapter(datetime)


def _check_rollout(row: RolloutRow) -> object:
    return rollout_of(row), read_row(RolloutStanding, row, f"rollout {row.workflow_id}")


def _check_types(row: Row) -> object:
    """Check a row that only has columns of simple types."""
    for column in table_of(type(row)).columns:
        value = getattr(row, column.name)
        if value is None and column.nullable:
            continue
        if isinstance(column.type, AnyTime) and not isinstance(value, datetime):
            raise BadValueError(f"{row.__tablename__} {key_of(row)}: {column.name} is {value!r}")
    return row


READERS: Mapping[type[Row], Callable[[Any], object]] = {
    TrackRow: track_of,
    SettingRow: setting_of,
    ReleaseRow: release_of,
    DebFileRow: deb_file_of,
    ConfigurationRow: configuration_of,
    RepositoryIndexRow: _check_types,
    RouteRow: lambda row: route_of(row, None),
    MachineRow: machine_record_of,
    PoolMachineRow: member_of,
    PoolSizeRow: size_of,
    RouteRemediationRow: check_remediation,
    DisruptionRow: disruption_of,
    BreakerRow: breaker_of,
    ConnectivityCheckRow: result_of,
    RolloutRow: _check_rollout,
    RolloutRouteRow: outcome_of,
    HoldRow: hold_of,
    RetentionRow: _check_types,
    FleetRow: _check_types,
    IncidentRow: _check_types,
    LivenessRow: _check_types,
    LivenessCheckRow: _check_types,
    PermitRow: lease_of,
    KeyRotationRow: rotation_of,
    MachineKeyRow: machine_keys_of,
    WorkerKeysRow: worker_keys_of,
    ImageRow: manifest_of,
    PublishedImageRow: in_region_of,
    EventRow: event_of,
}
"""How each table's rows are read. Each raises `BadValueError` for an invalid row."""

_BY_NAME = {str(row.__tablename__): row for row in READERS}


class RowRepair:
    """Rows as they are in the database, whatever is in them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> Iterator[BadRow]:
        """Yield every invalid row of every table."""
        for table, read in READERS.items():
            with self._database.reading() as session:
                rows = session.exec(select(table).execution_options(yield_per=_BATCH_SIZE))
                for row in rows:
                    try:
                        read(row)
                    except BadValueError as error:
                        yield BadRow(str(table.__tablename__), key_of(row), str(error))

    def repair(
        self, table: str, key: Sequence[str], values: Mapping[str, str], operation: Operation
    ) -> None:
        """Set columns of a row, which must be valid afterwards.

        Args:
            table: its name.
            key: the values of its primary key.
            values: by column: a text, a number, a time in ISO 8601 or JSON; empty for no value.
            operation: who repairs it, for the event log.

        Raises:
            BadValueError: there is no such table, row or column, or the row would be invalid.
        """
        with write(self._database, operation, ROW_REPAIRED) as w:
            row = _existing(w.session, table, key)
            before = row.model_dump(mode="json", warnings=False)
            for name, text in values.items():
                setattr(row, name, _value(row, name, text))
            READERS[type(row)](row)
            w.session.add(row)
            _flush(w.session, table)
            w.log(detail={"table": table, "key": list(key), "before": before, "set": dict(values)})

    def remove(self, table: str, key: Sequence[str], operation: Operation) -> None:
        """Delete an invalid row.

        Raises:
            BadValueError: there is no such table or row, it is valid, or others refer to it.
        """
        with write(self._database, operation, ROW_REMOVED) as w:
            row = _existing(w.session, table, key)
            try:
                READERS[type(row)](row)
            except BadValueError:
                before = row.model_dump(mode="json", warnings=False)
                w.session.delete(row)
                _flush(w.session, table)
                w.log(detail={"table": table, "key": list(key), "before": before})
                return
        raise BadValueError(f"this row of {table} is valid: only invalid rows are deleted")


def _existing(session: Session, table: str, key: Sequence[str]) -> Row:
    row_type = _BY_NAME.get(table)
    if row_type is None or row_type is EventRow:
        names = ", ".join(sorted({*_BY_NAME} - {"events"}))
        raise BadValueError(
            f"there is no table {table} whose rows can be changed; there are {names}"
        )
    columns = list(table_of(row_type).primary_key)
    if len(key) != len(columns):
        names = " ".join(column.name.upper() for column in columns)
        raise BadValueError(f"the key of a row of {table} is {names}")
    for row in session.exec(select(row_type)):
        if key_of(row) == tuple(key):
            return row
    raise BadValueError(f"there is no row {' '.join(key)} in {table}")


def _value(row: Row, name: str, text: str) -> Any:
    column = table_of(type(row)).columns.get(name)
    if column is None or column.primary_key:
        raise BadValueError(f"{row.__tablename__} has no column {name} that can be set")
    if text == "" and column.nullable:
        return None
    try:
        if isinstance(column.type, AnyTime):
            return _TIME.validate_python(text)
        if isinstance(column.type, AnyJson):
            return json.loads(text)
        return TypeAdapter(column.type.python_type).validate_python(text)
    except (ValidationError, ValueError) as error:
        raise BadValueError(f"{name}: {text!r} does not fit: {error}") from error


def _flush(session: Session, table: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise BadValueError(f"other rows need this row of {table}: {error.orig}") from error
