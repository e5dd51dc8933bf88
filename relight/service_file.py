"""The service file: `service.toml`, the settings of the service in a file of their own.

Its keys are those of `ServiceSettings`. The environment and the file `env` count before it.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from relight.context import current_context
from relight.domain.text import visible
from relight.setting_groups import ServiceSettings, SettingsError
from relight.toml_file import read_toml

VARIABLE = "RELIGHT_SERVICE_FILE"
NAME = "service.toml"

IGNORED = "ignore_service_file"
"""No setting: the settings are made with it by a command that writes the file."""

_PATHS = ("files", "secrets_file")
"""Those that are relative are as of the folder of the service file."""


def service_file(home: Path, named: Path | None) -> Path:
    """Return the service file; it may not exist.

    Args:
        home: the home folder.
        named: the value of `RELIGHT_SERVICE_FILE`; None if it is not set.
    """
    return home / NAME if named is None else named


def read_service_file(home: Path, named: Path | None) -> dict[str, Any]:
    """Return what the service file sets; nothing if there is none and none is named.

    Raises:
        SettingsError: the named file does not exist, it cannot be read, it has a key that is no
            setting of the service, or a value that the setting cannot have.
    """
    file = service_file(home, named)
    values = read_toml(file, VARIABLE, is_named=named is not None)
    _check(file, values)
    folder = file.absolute().parent
    return {
        key: str(folder / value) if key in _PATHS and value else value
        for key, value in values.items()
    }


def _check(file: Path, values: Mapping[str, Any]) -> None:
    known = ServiceSettings.model_fields
    unknown = [_unknown(key, known) for key in values if key not in known]
    if unknown:
        raise SettingsError(
            f"{file} has keys that are no settings of the service: {', '.join(unknown)}"
        )
    try:
        ServiceSettings.model_validate(values)
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"{file} has values that cannot be used: {'; '.join(wrong)}") from None
    except SettingsError:
        # A variable may add what this combination lacks; the settings as a whole are checked.
        return


def _unknown(key: str, known: Mapping[str, FieldInfo]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return visible(key) + (f" (is {close[0]} meant?)" if close else "")


class ServiceFileSource(PydanticBaseSettingsSource):
    """Gives the settings of the service from the service file."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: the file is read as a whole."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the group `service`.

        Raises:
            SettingsError: as `read_service_file`.
        """
        given = self.current_state
        if given.get(IGNORED):
            return {}
        named = given.get("service_file")
        home = Path(given.get("home") or current_context().home)
        values = read_service_file(home, Path(named) if named else None)
        return {"service": values} if values else {}
