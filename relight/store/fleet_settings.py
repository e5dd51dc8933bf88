"""Settings of the whole fleet, by name. Settings of the environment are in `relight.settings`."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from sqlmodel import select

from relight.domain.names import DEFAULT_RELEASE_SETTING, ReleaseTag
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.declarations import SETTING_SET, set_setting
from relight.store.errors import BadValueError, UnknownSettingError
from relight.store.events import Operation, write
from relight.store.rows import validating
from relight.store.tables import SettingRow

KNOWN: Mapping[str, TypeAdapter[Any]] = {DEFAULT_RELEASE_SETTING: TypeAdapter(ReleaseTag)}
"""Every setting, and the type of its value."""

SETTING_UNSET = "setting-unset"


class FleetSettings:
    """Names and values, both validated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> str | None:
        """Return a setting's value, None if it is not set.

        Raises:
            UnknownSettingError: there is no such setting.
            BadValueError: the value was changed by hand and is invalid.
        """
        require_known(name)
        with self._database.reading() as session:
            row = session.get(SettingRow, name)
            return _validated(name, row.value) if row else None

    def set(self, name: str, value: str, operation: Operation) -> None:
        """Set a setting's value.

        Raises:
            UnknownSettingError: there is no such setting.
            BadValueError: the value is invalid.
        """
        _validated(name, value)
        with write(self._database, operation, SETTING_SET) as w:
            if not w.earlier:
                set_setting(w, name, value)

    def unset(self, name: str, operation: Operation) -> bool:
        """Remove a setting's value; return whether it had one.

        Raises:
            UnknownSettingError: there is no such setting.
        """
        require_known(name)
        with write(self._database, operation, SETTING_UNSET) as w:
            if w.earlier:
                return True
            row = w.session.get(SettingRow, name)
            if row is None:
                return False
            w.session.delete(row)
            w.log(detail={"name": name, "previous": row.value})
            return True

    def all(self) -> dict[str, str]:
        """Return the values that are set, by name. An invalid one is noted and left out."""
        with self._database.reading() as session:
            return dict(sorted(read_good(session.exec(select(SettingRow)), setting_of)))


def setting_of(row: SettingRow) -> tuple[str, str]:
    """Return a row's name and value.

    Raises:
        BadValueError: there is no such setting, or its value is invalid.
    """
    try:
        return row.name, _validated(row.name, row.value)
    except UnknownSettingError as error:
        raise BadValueError(str(error)) from error


def require_known(name: str) -> None:
    """Refuse a name that no setting has.

    Raises:
        UnknownSettingError: there is no such setting.
    """
    if name not in KNOWN:
        raise UnknownSettingError(
            f"there is no setting {name}; the settings are: {', '.join(sorted(KNOWN))}"
        )


def _validated(name: str, value: str) -> str:
    require_known(name)
    with validating(f"setting {name}"):
        KNOWN[name].validate_python(value)
    return value
