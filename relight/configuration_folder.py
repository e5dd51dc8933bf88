"""A configuration in a folder, as people keep it under version control.

configuration.toml            values, the check, and what differs from the defaults
etc/lantern-box/config.json.j2    rendered to /etc/lantern-box/config.json
parts/...                     what templates include
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relight.domain.configuration import (
    MAX_BYTES,
    MAX_FILES,
    AccountName,
    Configuration,
    ConfigurationFile,
    ConfiguredMachine,
    FileMode,
    HostPath,
    OnConfigurationChange,
)
from relight.domain.error_words import error_words
from relight.domain.names import machine_key
from relight.domain.route import Route
from relight.hosts.configuration_templates import render
from relight.hosts.templates import SUFFIX

DECLARATION = "configuration.toml"
PARTS = "parts"

_IGNORED = ("README",)


class ConfigurationFolderError(ValueError):
    """A folder is not a configuration; the text names the file."""


class _FileSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: FileMode = "0644"
    owner: AccountName = "root"
    group: AccountName = "root"


class _Declaration(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    check: tuple[str, ...] = ()
    on_change: OnConfigurationChange = OnConfigurationChange.RESTART
    values: dict[str, Any] = Field(default_factory=dict)
    tracks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    routes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    files: dict[HostPath, _FileSettings] = Field(default_factory=dict)


class _Secrets(dict[str, str]):
    """Has a secret for each name, which says its name."""

    def __missing__(self, name: str) -> str:
        return f"<secret {name}>"


def read_folder(folder: Path) -> Configuration:
    """Return the configuration in a folder.

    Raises:
        ConfigurationFolderError: it is none.
    """
    templates: dict[str, str] = {}
    parts: dict[str, str] = {}
    declared = _Declaration()
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name == DECLARATION:
            declared = _declaration(path)
        elif name.startswith(f"{PARTS}/"):
            parts[name] = _text(path)
        elif name.endswith(SUFFIX):
            templates[f"/{name.removesuffix(SUFFIX)}"] = _text(path)
        elif not name.startswith(_IGNORED):
            raise ConfigurationFolderError(
                f"{path} is neither a template NAME{SUFFIX}, nor {DECLARATION}, nor in {PARTS}/"
            )
    if unknown := sorted(declared.files.keys() - templates.keys()):
        raise ConfigurationFolderError(
            f"{folder / DECLARATION}: [files] names {unknown[0]}, and there is no template "
            f"{unknown[0].lstrip('/')}{SUFFIX}"
        )
    if not templates:
        raise ConfigurationFolderError(f"there is no template NAME{SUFFIX} in {folder}")
    try:
        return Configuration(
            files=tuple(
                ConfigurationFile(
                    path=path,
                    template=text,
                    **declared.files.get(path, _FileSettings()).model_dump(),
                )
                for path, text in sorted(templates.items())
            ),
            parts=parts,
            **declared.model_dump(exclude={"files"}),
        )
    except ValidationError as error:
        raise ConfigurationFolderError(f"{folder}: {_words(error)}") from None


def preview(configuration: Configuration, route: Route) -> Mapping[str, str]:
    """Return the text of each file for a route, by its path; secrets are named, not shown.

    Raises:
        TemplateError: a template cannot be rendered.
    """
    machine = ConfiguredMachine(
        key=route.machine.key if route.machine else machine_key(route.route_id, 1),
        route_id=route.route_id,
        track=route.track,
        provider=route.provider,
        region=route.region,
    )
    rendered = render(configuration, machine, _Secrets(), b"")
    return {each.path: each.content.decode() for each in rendered.files}


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise ConfigurationFolderError(f"{folder} is not a folder")
    count = 0
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file():
            continue
        count += 1
        if count > 2 * MAX_FILES:
            raise ConfigurationFolderError(f"{folder} has more than {2 * MAX_FILES} files")
        yield path


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationFolderError(f"{path} has more than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationFolderError(f"{path}: {error_words(error)}") from None


def _declaration(path: Path) -> _Declaration:
    try:
        return _Declaration.model_validate(tomllib.loads(_text(path)))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationFolderError(f"{path}: {error}") from None
    except ValidationError as error:
        raise ConfigurationFolderError(f"{path}: {_words(error)}") from None


def _words(error: ValidationError) -> str:
    """Return the first error of each value, without the value."""
    wrong: dict[str, str] = {}
    for each in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in each["loc"][:3])
        wrong.setdefault(name, each["msg"].removeprefix("Value error, "))
    return "; ".join(f"{name}: {text}" if name else text for name, text in wrong.items())
