"""Durations as people write and read them.

They write `90s`, `30m`, `1h 30min`, `2d`, or `PT30M` of ISO 8601, and read `13 min`, `1 h 30 min`.
"""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter, ValidationError

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_SIZES = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_EXACT_BELOW_SECONDS = 10
_PART = re.compile(r"(\d{1,6}) ?(min|[smhdw])(?![a-z]) ?")
_ISO: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def duration_of(text: str) -> timedelta:
    """Return the duration that a text means.

    Raises:
        ValueError: it is malformed.
    """
    if text.strip().startswith("P"):
        return _of_iso(text.strip())
    rest, total = text.strip(), timedelta()
    while part := _PART.match(rest):
        total += int(part[1]) * _UNITS[part[2]]
        rest = rest[part.end() :]
    if rest or not text.strip():
        raise _malformed(text)
    return total


def span(duration: timedelta) -> str:
    """Return a duration for people, in at most two units: `45 s`, `12 min 30 s`, `3 h`.

    Below ten seconds it has a tenth, if that is not 0: `0.5 s`. A negative one is `0 s`.
    """
    total = max(duration.total_seconds(), 0)
    if total < _EXACT_BELOW_SECONDS:
        return f"{round(total, 1):g} s"
    seconds = round(total)
    parts = []
    for unit, size in _SIZES:
        if seconds >= size:
            parts.append((size, f"{seconds // size} {unit}"))
            seconds %= size
    # Adjacent units only: no seconds beside hours.
    next_unit = {86400: 3600, 3600: 60, 60: 1}.get(parts[0][0])
    return " ".join(text for size, text in parts[:2] if size in (parts[0][0], next_unit))


def _of_iso(text: str) -> timedelta:
    try:
        return _ISO.validate_python(text)
    except ValidationError:
        raise _malformed(text) from None


def _malformed(text: str) -> ValueError:
    return ValueError(f"{text!r} is not a duration, as in 90s, 30m, 4h, 1h30m, 2d, 1w or PT30M")


def _read(value: object) -> object:
    return duration_of(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_read)]
"""The type of a duration that people set: a text is read as `duration_of` does."""
