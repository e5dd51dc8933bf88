"""Where each setting comes from. Secrets are not shown."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python

from relight.context import ENVIRONMENT
from relight.domain.base import Message
from relight.provider_settings import providers_file, read_providers_file
from relight.service_file import read_service_file, service_file
from relight.settings import Settings
from relight.store.database import parse_url
from relight.store_address import store_address

_PREFIX = "RELIGHT_"
_NO_SETTINGS = {"RELIGHT_CONTEXT"}
"""Variables of Relight that are no settings."""

_USER_INFO = re.compile(r"://[^/@\s]*@")

DEFAULT = "default"


class SettingOrigin(Message):
    """A setting.

    Attributes:
        name: its variable, as in `RELIGHT_SSH__PORT`.
        value: as text; a secret is `(not shown)`.
        origin: `environment`, `default`, `context NAME`, or the path of the file: `env`, the
            service file, or that of the providers.
    """

    name: str
    value: str
    origin: str


def setting_origins(settings: Settings) -> list[SettingOrigin]:
    """Return all settings, in declared order. It reads the files that give settings.

    Raises:
        SettingsError: the service file, or that of the providers, cannot be used any more.
    """
    file, of_service = settings.home / "env", service_file(settings.home, settings.service_file)
    in_service_file = read_service_file(settings.home, settings.service_file)
    of_providers = providers_file(settings.home, settings.providers_file)
    in_providers_file = read_providers_file(settings.home, settings.providers_file)
    sources = {
        "environment": _set_in(os.environ),
        str(file): _set_in(dotenv_values(file)),
        str(of_service): {f"{_PREFIX}SERVICE__{key.upper()}" for key in in_service_file},
        str(of_providers): {f"{_PREFIX}PROVIDERS"} if in_providers_file else set(),
    }
    return [
        SettingOrigin(name=name, value=_shown(value), origin=_origin(settings, name, sources))
        for name, value in _leaves(settings, _PREFIX)
    ]


def unknown_variables(settings: Settings) -> list[str]:
    """Return the variables with the prefix of settings that are no setting, sorted."""
    known = {name for name, _ in _leaves(settings, _PREFIX)}
    groups = {f"{_PREFIX}{name.upper()}" for name in type(settings).model_fields}
    given = _set_in(os.environ) | _set_in(dotenv_values(settings.home / "env"))
    return sorted(
        name
        for name in given - known - groups - _NO_SETTINGS
        if not any(name.startswith(f"{each}__") for each in _open_groups(settings, _PREFIX))
    )


def given_settings(settings: Settings) -> dict[str, str]:
    """Return the settings in the environment, as the file `env` of the home folder can have them.

    The context is none of them, and relative paths are as of the current folder.

    Raises:
        BadStoreUrlError: the store's address is none.
    """
    names = _set_in(os.environ) - {"RELIGHT_HOME", *_NO_SETTINGS, *unknown_variables(settings)}
    given = {name.upper(): value for name, value in os.environ.items()}
    kept = {name: given[name] for name in sorted(names)}
    for name, value in _leaves(settings, _PREFIX):
        if name in kept and isinstance(value, Path):
            kept[name] = str(value.absolute())
    if "RELIGHT_STORE_URL" in kept:
        url = parse_url(store_address(settings))
        if url.get_backend_name() == "sqlite" and url.database:
            url = url.set(database=str(Path(url.database).absolute()))
            kept["RELIGHT_STORE_URL"] = url.render_as_string()
    return kept


def _leaves(model: BaseModel, prefix: str) -> Iterator[tuple[str, object]]:
    for name in type(model).model_fields:
        value, variable = getattr(model, name), f"{prefix}{name.upper()}"
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{variable}__")
        else:
            yield variable, value


def _open_groups(model: BaseModel, prefix: str) -> Iterator[str]:
    """Yield the settings that are objects with names of a person's choice."""
    for name, value in _leaves(model, prefix):
        if isinstance(value, Mapping):
            yield name


def _set_in(variables: Mapping[str, str | None]) -> set[str]:
    names = {name.upper() for name, value in variables.items() if value}
    return {name for name in names if name.startswith(_PREFIX)}


def _origin(settings: Settings, name: str, sources: Mapping[str, set[str]]) -> str:
    context = settings.context
    if name == "RELIGHT_HOME" and context.name != ENVIRONMENT:
        return f"context {context.name}"
    if name == "RELIGHT_STORE_URL" and context.store_url:
        return f"context {context.name}"
    # A whole group can be set as JSON: RELIGHT_SSH={"port": 2222}.
    names = {name, *(name[: part.start()] for part in re.finditer("__", name))}
    return next((origin for origin, given in sources.items() if given & names), DEFAULT)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(not shown)" if value.get_secret_value() else ""
    if isinstance(value, Mapping):
        return ", ".join(sorted(value))  # a URL of a gate check can hold a password
    plain = to_jsonable_python(value)
    text = "" if plain is None else ", ".join(map(str, plain)) if isinstance(plain, list) else plain
    return _USER_INFO.sub("://***@", str(text))
