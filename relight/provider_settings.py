"""The settings of providers: `providers.toml`, and the variables that count before it.

`RELIGHT_PROVIDERS__LINODE__TOKEN_FILE` is the key `token_file` of the file's table `[linode]`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from relight.context import current_context
from relight.domain.text import visible
from relight.setting_groups import SettingsError
from relight.toml_file import read_toml

VARIABLE = "RELIGHT_PROVIDERS_FILE"
NAME = "providers.toml"

_PATH_SUFFIX = "_file"
"""Of keys whose relative value is as of the folder of the file."""


def providers_file(home: Path, named: Path | None) -> Path:
    """Return the file; it may not exist.

    Args:
        home: the home folder.
        named: the value of `RELIGHT_PROVIDERS_FILE`; None if it is not set.
    """
    return home / NAME if named is None else named


def read_providers_file(home: Path, named: Path | None) -> dict[str, dict[str, Any]]:
    """Return what the file sets, by provider; nothing if there is none and none is named.

    Raises:
        SettingsError: as `read_toml`; or something in it is no table of a provider.
    """
    file = providers_file(home, named)
    values = read_toml(file, VARIABLE, is_named=named is not None)
    no_tables = sorted(visible(key) for key, value in values.items() if not isinstance(value, dict))
    if no_tables:
        raise SettingsError(
            f"{file}: {', '.join(no_tables)}: stands in no table of a provider, as [linode]"
        )
    folder = file.absolute().parent
    return {name: _with_whole_paths(table, folder) for name, table in values.items()}


class ProvidersFileSource(PydanticBaseSettingsSource):
    """Gives the settings of providers from the file."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: the file is read as a whole."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the group `providers`.

        Raises:
            SettingsError: as `read_providers_file`.
        """
        given = self.current_state
        named = given.get("providers_file")
        home = Path(given.get("home") or current_context().home)
        values = read_providers_file(home, Path(named) if named else None)
        return {"providers": values} if values else {}


def bad_provider_settings(
    name: str, error: ValidationError, file: Path, in_file: Mapping[str, Any]
) -> SettingsError:
    """Return an error that names what is wrong where it stands: in the file, or in a variable.

    Args:
        name: the provider's.
        error: of its settings.
        file: `providers.toml`.
        in_file: what it has of this provider.
    """
    return SettingsError("; ".join(_wrong(name, error, file, in_file)))


def variable_of(name: str, *path: str) -> str:
    """Return the variable of a provider's setting."""
    return "__".join(("RELIGHT_PROVIDERS", name, *path)).upper()


def _with_whole_paths(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    def whole(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return _with_whole_paths(value, folder)
        is_path = key.endswith(_PATH_SUFFIX) and isinstance(value, str)
        return str(folder / value) if is_path else value

    return {key: whole(key, value) for key, value in table.items()}


def _wrong(
    name: str, error: ValidationError, file: Path, in_file: Mapping[str, Any]
) -> Iterator[str]:
    for each in error.errors(include_input=False, include_url=False):
        path = [visible(str(part)) for part in each["loc"]]
        key, text = ".".join((name, *path)), each["msg"].removeprefix("Value error, ")
        if each["type"] == "missing" and len(path) == 1:
            yield f"{variable_of(name, *path)} is not set, nor {key} in {file}"
        elif _has(in_file, path[:-1] if each["type"] == "missing" else path):
            yield f"{file}: {key}: {text}"
        else:
            yield f"{variable_of(name, *path[:1])}: {key}: {text}"


def _has(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if isinstance(values, list | tuple):
            return True
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
