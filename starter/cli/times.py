"""Instants and durations as people type and read them. Raises `typer.BadParameter`.

An instant without a time zone is UTC, as all that the commands show.
"""

import re
from datetime import UTC, datetime, timedelta

import typer

from starter.cli.errors import BadInputError

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART = re.compile(r"(\d{1,6}) ?(min|[smhdw])(?![a-z]) ?")


def duration_of(text: str) -> timedelta:
    """Return a duration as it was typed: `90s`, `30m`, `4h`, `1h 30min`, `2d`, `1w`.

    Raises:
        typer.BadParameter: it is none.
    """
    rest, total = text.strip(), timedelta()
    while part := _PART.match(rest):
        total += int(part[1]) * _UNITS[part[2]]
        rest = rest[part.end() :]
    if rest or not text.strip():
        msg = f"{text!r} is not a duration, as in 90s, 30m, 4h, 1h30m, 2d or 1w"
        raise typer.BadParameter(msg)
    return total


def instant_of(text: str) -> datetime:
    """Return an instant as it was typed in ISO form; without a time zone it is UTC.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        msg = (
            f"{text!r} is not a time, as in 2026-12-24, 2026-12-24T18:00 or 2026-12-24T18:00+01:00"
        )
        raise typer.BadParameter(msg) from None


def end_of(
    starts_at: datetime, until: datetime | None, lasts: timedelta | None, now: datetime
) -> datetime:
    """Return the end that `--until` or `--for` says.

    Raises:
        BadInputError: neither or both are given, it is before the start, or it is past.
    """
    if (until is None) == (lasts is None):
        msg = "say when it ends, by --until or by --for"
        raise BadInputError(msg + (": not both" if until else ""))
    try:
        end = until or starts_at + (lasts or timedelta())
    except OverflowError:
        msg = "--for is longer than the calendar"
        raise BadInputError(msg) from None
    if end <= now:
        msg = f"it would have ended already, at {moment(end)} UTC"
        raise BadInputError(msg)
    if end <= starts_at:
        msg = f"it would end at {moment(end)} UTC, and only begin at {moment(starts_at)} UTC"
        raise BadInputError(msg)
    return end


def moment(at: datetime) -> str:
    """Return an instant for people: UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def span(duration: timedelta) -> str:
    """Return a duration for people, in two units at the most: `45 s`, `12 min 30 s`, `3 h`."""
    seconds = round(duration.total_seconds())
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            parts.append((size, f"{seconds // size} {unit}"))
            seconds %= size
    if not parts:
        return "0 s"
    # No seconds beside hours: the second unit is the next smaller one, or none.
    following = {86400: 3600, 3600: 60, 60: 1}.get(parts[0][0])
    return " ".join(text for size, text in parts[:2] if size in (parts[0][0], following))
