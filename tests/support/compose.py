"""docker-compose.temporal.yml as Compose reads it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.temporal.yml"

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+):-(?P<default>[^}]*)\}")


def compose_file(**variables: str) -> dict[str, Any]:
    """Return the file with these variables exported."""
    read = _interpolated(yaml.safe_load(COMPOSE_FILE.read_text()), variables)
    assert isinstance(read, dict)
    return read


def first_steps() -> str:
    """Return the commands of its head that make its two folders, as one shell script."""
    [paragraph] = re.findall(r"^#\n((?:#   .*\n)*#   umask .*\n(?:#   .*\n)*)", _head(), re.M)
    return re.sub(r"^#   ", "", paragraph, flags=re.M)


def _head() -> str:
    return COMPOSE_FILE.read_text().partition("\nname: ")[0]


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    match value:
        case str():
            return _VARIABLE.sub(
                lambda found: (
                    (variables.get(found["name"]) or found["default"]) if found["name"] else "$"
                ),
                value,
            )
        case dict():
            return {name: _interpolated(each, variables) for name, each in value.items()}
        case list():
            return [_interpolated(each, variables) for each in value]
        case _:
            return value
