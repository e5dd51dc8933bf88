"""Rendering of the service's configuration for one host."""

from collections.abc import Mapping
from functools import partial

import jinja2

from relight.domain.configuration import (
    MAX_BYTES,
    Configuration,
    ConfigurationFile,
    ConfiguredMachine,
)
from relight.hosts.configuration import HostConfiguration, HostFile
from relight.hosts.templates import (
    SUFFIX,
    TemplateError,
    named,
    template_environment,
    uses_secrets,
)

_OF_THE_OWNER = 0o700


def render(
    configuration: Configuration,
    machine: ConfiguredMachine,
    secrets: Mapping[str, str],
    key: bytes,
) -> HostConfiguration:
    """Return the configuration of a machine.

    A template sees the machine as `plan`, `values.NAME` and `secrets.NAME`. Of a file that uses a
    secret, only the owner keeps a right.

    Args:
        configuration: its templates and values.
        machine: with the route that it serves now.
        secrets: by name.
        key: the fleet's.

    Raises:
        TemplateError: a template is invalid, uses what is not defined, or is too long.
    """
    templates = {_name(each): each.template for each in configuration.files}
    environment = template_environment(jinja2.DictLoader({**configuration.parts, **templates}))
    values = configuration.values_for(machine.track, machine.route_id)
    seen = {"plan": machine, "values": values, "secrets": secrets}
    files, size = [], 0
    for each in configuration.files:
        name = _name(each)
        text = named(name, partial(_bounded, environment, name, seen))
        size += len(text)
        if size > MAX_BYTES:
            raise TemplateError(f"{name}: all files together have more than {MAX_BYTES} bytes")
        is_secret = named(name, partial(uses_secrets, environment, name))
        mode = int(each.mode, 8) & (_OF_THE_OWNER if is_secret else 0o777)
        files.append(HostFile(each.path, f"{mode:03o}", each.owner, each.group, text))
    return HostConfiguration(
        tuple(files),
        configuration.check,
        configuration.on_change,
        key,
        tuple(secrets.values()),
    )


def _name(file: ConfigurationFile) -> str:
    return f"{file.path.lstrip('/')}{SUFFIX}"


def _bounded(environment: jinja2.Environment, name: str, seen: Mapping[str, object]) -> bytes:
    """Render a template, as far as its text is not too long."""
    parts: list[bytes] = []
    size = 0
    for part in environment.get_template(name).generate(seen):
        parts.append(part.encode())
        size += len(parts[-1])
        if size > MAX_BYTES:
            msg = f"it has more than {MAX_BYTES} bytes"
            raise ValueError(msg)
    return b"".join(parts)
