"""`relight events`: the event log, by route, rollout, kind, requester and time."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from relight.domain.duration import duration_of
from relight.domain.event import CONCURRENCY_SET, Event, EventFilter
from relight.domain.names import RouteId
from starter.cli.errors import BadInputError, ExitCode
from starter.cli.hold_options import RouteOption
from starter.cli.names import FindTrackOption, tag_or_none
from starter.cli.output import note, print_json_line, print_line, print_table
from starter.cli.rollout_name import find
from starter.cli.session import fleet_store
from starter.cli.times import instant_of

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.store.store import Store

app = typer.Typer(add_completion=False)

LIMIT = 50
MAX_LIMIT = 10_000

POLL_EVERY = timedelta(milliseconds=500)


def since_of(text: str) -> datetime:
    """Parse the start of a time: a duration before now as in `2h`, or an instant.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text[:4].isdecimal() and "-" in text:
        return instant_of(text)
    try:
        return datetime.now(UTC) - duration_of(text)
    except (ValueError, OverflowError):
        msg = f"{text!r} is neither a duration, as in 2h or 3d, nor a time, as in 2026-12-24T18:00"
        raise typer.BadParameter(msg) from None


@app.command()
def events(  # noqa: PLR0913 - one argument a flag
    *,
    route: RouteOption = None,
    rollout: Annotated[
        str | None,
        typer.Option(
            "--rollout",
            metavar="TAG",
            callback=tag_or_none,
            help="The newest rollout of this release: its own events, and those of its routes "
            "while it ran.",
        ),
    ] = None,
    track: FindTrackOption = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="A kind of event or of fault, as in route-proven."),
    ] = None,
    who: Annotated[
        str | None,
        typer.Option("--who", help="Who requested it: USER@HOST, or USER on any host."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            metavar="TIME",
            parser=since_of,
            help="Not before: 2h, 3d, or a time as in 2026-12-24T18:00 (UTC).",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", min=1, max=MAX_LIMIT, help="How many, the newest ones."),
    ] = LIMIT,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="ID", min=1, help="Only events with a lower id."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Then print each new event, until Ctrl-C.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.", show_default=False)
    ] = False,
) -> None:
    """Show what happened to the fleet, oldest first: the newest events that match every option.

    If there are older ones, the last line of standard error says how to see them.

    [bold]Examples:[/]

      relight events --since 2h
      relight events --route eu-1 --kind route-proven
      relight events --rollout v0.0.74 --who alice --json | jq .reason
      relight events --follow
    """
    if follow and before is not None:
        msg = "--follow and --before exclude each other"
        raise BadInputError(msg)
    if track is not None and rollout is None:
        msg = "--track is the track of a rollout: it needs --rollout"
        raise BadInputError(msg)
    with fleet_store(reads_only=True) as store:
        wanted = EventFilter(
            route_id=_known_route(store, route),
            rollout_run_id=None if rollout is None else _rollout_run_id(rollout, track),
            kind=kind,
            who=who,
            since=since,
        )
        if follow:
            newest = store.events.settled_id()
            before = newest + 1
        found, older = store.events.page(wanted, limit, before=before)
        if json:
            print_events(found, as_json=True)
        elif found or not follow:
            print_table(_COLUMNS, map(_cells, found))
        if older is not None:
            note(f"there are older events: add --before {older}")
        if follow:
            _follow(store, wanted, newest, as_json=json)


def print_events(found: Iterable[Event], *, as_json: bool) -> None:
    """Print events, one line each."""
    for event in found:
        if as_json:
            print_json_line(event)
        else:
            print_line("  ".join(str(cell) for cell in _cells(event) if cell is not None))


def event_name(event: Event) -> str:
    """Return the kind of an event; of a fault, the kind of the fault."""
    return f"fault: {event.fault_kind}" if event.fault_kind else event.kind


def concurrency_text(event: Event) -> str | None:
    """Return to how many routes at once an event has set a rollout; None for any other event."""
    if event.kind != CONCURRENCY_SET:
        return None
    return f"{event.detail.get('max_concurrent')} at once"


_COLUMNS = ("id", "at (UTC)", "event", "about", "release", "requested by: reason")


def _cells(event: Event) -> tuple[object, ...]:
    return (
        event.event_id,
        f"{event.at:%Y-%m-%d %H:%M:%S}",
        event_name(event),
        event.route_id or event.machine_key or concurrency_text(event),
        event.release_tag,
        f"{event.requested_by}: {event.reason}",
    )


def _follow(store: "Store", wanted: EventFilter, after: int, *, as_json: bool) -> None:
    """Print each new event until the command is interrupted."""
    try:
        while True:
            newest = store.events.settled_id()
            found = store.events.following(wanted, after, newest, MAX_LIMIT)
            print_events(found, as_json=as_json)
            # Others than those that match are not read again.
            after = found[-1].event_id if len(found) == MAX_LIMIT else max(after, newest)
            if len(found) < MAX_LIMIT:
                time.sleep(POLL_EVERY.total_seconds())
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _known_route(store: "Store", route: RouteId | None) -> RouteId | None:
    """Check that a route exists or has events: one that was deleted keeps its events.

    Raises:
        BadInputError: neither.
    """
    if route is None or store.routes.get(route) is not None:
        return route
    if not store.events.list(route_id=route, limit=1):
        msg = f"there is no route {route}, and no event about it"
        raise BadInputError(msg)
    return route


def _rollout_run_id(tag: str, track: str | None) -> str:
    name = find(tag, track)
    if name.run_id is None:
        msg = f"there is no rollout of {name.tag} over {name.scope}"
        raise BadInputError(msg)
    return name.run_id
