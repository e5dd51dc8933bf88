"""`relight rollout list` and `history`: the rollouts so far, and what happened in one."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from relight.domain.duration import span
from relight.domain.event import Event, EventFilter
from relight.domain.names import rollout_workflow_id
from relight.domain.rollout.rollout import Rollout, RouteProgress
from relight.domain.rollout.status import tally
from starter.cli.errors import BadInputError
from starter.cli.events import MAX_LIMIT, concurrency_text
from starter.cli.names import FindTagArgument, FindTrackOption, track_or_none
from starter.cli.output import JsonOption, note, print_json, print_line, print_table
from starter.cli.rollout_name import find, scope_of
from starter.cli.session import fleet_store
from starter.cli.times import moment

app = typer.Typer()

LIMIT, EVENT_LIMIT = 20, 100

_STYLES = {"converged": "green", "stopped": "bold red", "aborted": "bold red"}


@app.command("list")
def list_(
    track: Annotated[
        str | None,
        typer.Option(
            "--track", "-t", callback=track_or_none, help="Only rollouts over this track."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="How many, the newest ones.")
    ] = LIMIT,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="ID", min=1, help="Only rollouts with a lower id."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the rollouts, running and ended ones, the newest first.

    [bold]Examples:[/]

      relight rollout list
      relight rollout list --track beta --limit 5
      relight rollout list --json | jq '.rollouts[] | select(.phase == "stopped")'
    """
    now = datetime.now(UTC)
    with fleet_store(reads_only=True) as store:
        scope = None if track is None else scope_of(track)
        found, older = store.rollouts.page(limit, before=before, scope=scope)
        counts = [store.rollout_routes.counts(each.run_id) for each in found]
    if json:
        rollouts = [
            {**each.model_dump(mode="json"), "undo": _is_undo(each), "counts": dict(count)}
            for each, count in zip(found, counts, strict=True)
        ]
        print_json({"rollouts": rollouts, "older_before": older})
        return
    if not found:
        print_line("no rollouts yet: start one with `relight rollout start TAG`")
        return
    print_table(
        ("started (UTC)", "release", "scope", "phase", "proven", "failed", "took", "reason"),
        (
            (
                moment(each.opened_at),
                _what_of(each),
                each.scope,
                each.phase,
                *_proven_and_failed(count),
                span((each.closed_at or now) - each.opened_at),
                each.detail,
            )
            for each, count in zip(found, counts, strict=True)
        ),
        styles=_STYLES,
    )
    if older is not None:
        note(f"there are older rollouts: add --before {older}")


@app.command()
def history(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", min=1, max=MAX_LIMIT, help="How many, the newest ones."),
    ] = EVENT_LIMIT,
    json: JsonOption = False,
) -> None:
    """Show what happened in a rollout: its gates' decisions, its controls and its end.

    Without TAG it is the running rollout, else the newest. What happened to its routes meanwhile:
    `relight events --rollout TAG`.

    [bold]Examples:[/]

      relight rollout history
      relight rollout history v0.0.74 --json
    """
    name = find(tag, track)
    if name.run_id is None:
        msg = f"there is no rollout of {name.tag} over {name.scope}"
        raise BadInputError(msg)
    with fleet_store(reads_only=True) as store:
        found, older = store.events.page(EventFilter(run_id=name.run_id), limit)
    if json:
        print_json(found)
        return
    print_table(
        ("at (UTC)", "event", "what", "requested by: reason"),
        (
            (
                f"{event.at:%Y-%m-%d %H:%M:%S}",
                event.kind,
                _what(event),
                f"{event.requested_by}: {event.reason}",
            )
            for event in found
        ),
    )
    if older is not None:
        note("there are older events: raise --limit")


def _what_of(rollout: Rollout) -> str:
    """Return what a rollout brings to routes."""
    if rollout.image_name:
        return f"image {rollout.image_name}"
    return f"undo of {rollout.release_tag}" if _is_undo(rollout) else rollout.release_tag


def _is_undo(rollout: Rollout) -> bool:
    undo_id = rollout_workflow_id(rollout.release_tag, rollout.scope, undo=True)
    return rollout.workflow_id == undo_id


def _proven_and_failed(counts: Any) -> tuple[int, int]:
    proven, failed = tally(counts)
    return proven, failed + counts.get(RouteProgress.NOT_ROLLED_BACK, 0)


def _what(event: Event) -> str | None:
    """Return what an event of a rollout says; None if its kind says all."""
    detail: dict[str, Any] = event.detail
    if "decision" in detail:
        return f"wave {detail.get('wave')}: {detail['decision']}: {detail.get('reason')}"
    rollout = detail.get("rollout")
    if isinstance(rollout, dict):
        return f"{rollout.get('phase')}: {rollout.get('detail')}"
    return f"route {event.route_id}" if event.route_id else concurrency_text(event)
