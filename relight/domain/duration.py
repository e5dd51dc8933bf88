"""Durations as people write them: `90s`, `30m`, `1h 30min`, `2d`, or `PT30M` of ISO 8601."""

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
