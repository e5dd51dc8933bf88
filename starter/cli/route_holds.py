"""The holds that cover a route, and the command that removes each."""

from datetime import datetime
from typing import TYPE_CHECKING

from relight.domain.hold import HoldKind, covers
from relight.domain.route import Route
from starter.cli.hold_options import selector_text, state_of, state_text
from starter.cli.times import moment

if TYPE_CHECKING:  # slow to import: only commands that need them do so
    from relight.store.holds import HoldRecord
    from relight.store.store import Store

_COMMANDS = {
    HoldKind.FREEZE: "freeze",
    HoldKind.EXCLUSION: "exclude",
    HoldKind.BREAKER_OVERRIDE: "breaker override",
}


def holds_of(store: "Store", route: Route, now: datetime) -> "list[HoldRecord]":
    """Return the active and the upcoming holds that cover a route, by their end."""
    records = (*store.freezes.list(), *store.exclusions.list(), *store.breaker_overrides.list())
    return sorted(
        (each for each in records if each.ends_at > now and covers(each.covers, route)),
        key=lambda each: each.ends_at,
    )


def removal_of(hold: "HoldRecord") -> str:
    """Return the command that removes a hold."""
    return f"relight {_COMMANDS[hold.kind]} remove {hold.hold_id}"


def shown_hold(hold: "HoldRecord", now: datetime) -> dict[str, object]:
    """Return a hold as JSON, with its state and the command that removes it."""
    return {
        **hold.model_dump(mode="json"),
        "state": state_of(hold, now),
        "remove": removal_of(hold),
    }


def hold_line(hold: "HoldRecord", now: datetime) -> str:
    """Return what holds, for whom and until when, and the command that removes it."""
    pin = f" at {hold.pinned_to}" if hold.pinned_to else ""
    return (
        f"{hold.kind} {hold.hold_id}{pin} ({selector_text(hold.covers)}), {state_text(hold, now)}, "
        f"until {moment(hold.ends_at)} UTC, by {hold.owner}: {hold.reason}; "
        f"`{removal_of(hold)}` ends it"
    )
