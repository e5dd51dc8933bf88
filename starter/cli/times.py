"""Instants and durations: parsed from options, and formatted for people.

An instant without a time zone is UTC, as in all output.
"""

from datetime import UTC, datetime, timedelta

import typer

from relight.domain.clock import TOLERANCE
from relight.domain.duration import duration_of
from starter.cli.errors import BadInputError


def duration_option(text: str) -> timedelta:
    """Parse the duration of an option.

    Raises:
        typer.BadParameter: it is malformed.
    """
    try:
        return duration_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def instant_of(text: str) -> datetime:
    """Parse an ISO 8601 instant; without a time zone it is UTC.

    Raises:
        typer.BadParameter: it is malformed.
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
    """Return the end that `--until` or `--for` gives.

    Raises:
        BadInputError: neither or both are given, or the end is before the start or in the past.
    """
    if (until is None) == (lasts is None):
        msg = "set the end with --until or --for"
        raise BadInputError(msg + (", not both" if until else ""))
    try:
        end = until or starts_at + (lasts or timedelta())
    except OverflowError:
        msg = "--for is too long for the calendar"
        raise BadInputError(msg) from None
    if end <= now:
        msg = f"the end {moment(end)} UTC is in the past"
        raise BadInputError(msg)
    if end <= starts_at:
        msg = f"the end {moment(end)} UTC is before the start {moment(starts_at)} UTC"
        raise BadInputError(msg)
    return end


def moment(at: datetime) -> str:
    """Return an instant for people: UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def age(past: timedelta) -> str:
    """Return an age in its largest whole unit, as in `5 min`.

    A time of the future has none: a clock was wrong.
    """
    if past < -TOLERANCE:
        return "in the future"
    seconds = max(0, int(past.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
