"""The text of a service file, from what was found in a package. Pure."""

import json
from collections.abc import Iterator, Sequence

from relight.domain.text import visible
from relight.inspection.service import InspectedService

_WIDTH = 100
_MAX_CONFIGURATION = 20


def service_toml(service: InspectedService) -> str:
    """Return a service file: each setting that was told, and as comments what was not."""
    return "\n".join(_lines(service)) + "\n"


def _lines(service: InspectedService) -> Iterator[str]:
    yield from _comment(
        f"The service that the fleet runs, as found in {service.package} {service.version} "
        f"({service.architecture}). The keys are those of RELIGHT_SERVICE__*: a variable counts "
        "before this file."
    )
    yield ""
    yield _setting("package", service.package)
    if service.packages:
        yield from _comment("What a release moves together.")
        yield _setting("packages", service.packages)
    yield ""
    yield from _comment(f"How it runs: {service.model}. Why this unit: {service.reason}.")
    yield _setting("unit", service.unit)
    if service.more_units:
        yield from _comment("Further units. A socket stays open while its service is restarted.")
        yield _setting("more_units", service.more_units)
    if service.executable:
        yield _setting("executable", service.executable)
    yield ""
    yield from _comment("How the units take a new release: restart, reload or try-restart.")
    yield _setting("on_change", str(service.on_change))
    yield ""
    if service.probe_port is None:
        yield from _comment(
            "No port could be told, so nothing asks the service whether it answers: its proof is "
            'that of its processes. With a port: probe = "tcp", probe_port = 8080.'
        )
    yield _setting("probe", service.probe)
    if service.probe_port is not None:
        yield f"probe_port = {service.probe_port}"
    yield from _list("Configuration files, which no setting has:", service.configuration)
    yield from _list("What to know:", service.notes)
    yield from _list("What could not be told:", service.unknown)


def _setting(key: str, value: str | Sequence[str]) -> str:
    # A JSON string is one of TOML, but for DEL, which no checked value has.
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield from _comment(title)
        for each in lines[:_MAX_CONFIGURATION]:
            yield from _comment(f"- {each}")
        if len(lines) > _MAX_CONFIGURATION:
            yield from _comment(f"- and {len(lines) - _MAX_CONFIGURATION} more")


def _comment(text: str) -> Iterator[str]:
    """Yield the lines of a comment, wrapped at words."""
    line = "#"
    for word in visible(text).split():
        if len(line) + 1 + len(word) > _WIDTH and line != "#":
            yield line
            line = "#  " if text.startswith("- ") else "#"
        line = f"{line} {word}"
    yield line
