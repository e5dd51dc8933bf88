"""`relight store`: the tables behind all other commands."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from relight.domain.retention import MIN_RETENTION
from relight.settings import load_settings
from starter.cli.errors import BadInputError
from starter.cli.output import JsonOption, print_json, print_line
from starter.cli.session import DEFAULT_REASON, ReasonOption, fleet_store, operation
from starter.cli.times import duration_of, moment, span

app = typer.Typer(no_args_is_help=True)


@app.callback()
def store() -> None:
    """The store: the fleet's declared and actual state, and the log of all changes."""


@app.command()
def upgrade(json: JsonOption = False) -> None:
    """Make the store's tables, or bring them to this version of Relight. It is safe to repeat.

    RELIGHT_STORE_URL names the store; without it, it is a file in the home folder. No other
    command changes tables, but `relight up` does in its own home folder. Back the store up first:
    commands and new workers of an older version refuse it afterwards.

    [bold]Examples:[/]

      relight store upgrade
      RELIGHT_STORE_URL=postgresql://relight@db.example/relight relight store upgrade --json
    """
    # Slow to import: only commands that need them do so.
    from relight.store.migrate import newest_revision  # noqa: PLC0415
    from relight.store.store import Store  # noqa: PLC0415

    settings = load_settings()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Store.open(settings.database_url) as opened:
        before = opened.upgrade()
    now = newest_revision()
    if json:
        print_json({"revision": now, "revision_before": before})
    elif before == now:
        print_line(f"the store is at revision {now} already")
    else:
        print_line(f"the store is at revision {now} now ({_was(before)})")


@app.command()
def prune(
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            parser=duration_of,
            help="How long ago it ended: 180d, 26w.  \\[default: RELIGHT_STORE_RETENTION]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")
    ] = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Delete old events, rollouts, holds and destroyed pool machines from the store, in batches.

    These stay: the machines of each route, its last proof and its last proof at another release,
    the declarations that hold, the last rollout of each scope. `relight schedule apply` makes a
    schedule that does this daily. RELIGHT_STORE_RETENTION is P180D by default.

    [bold]Examples:[/]

      relight store prune --older-than 180d --dry-run
      relight store prune --older-than 26w --reason "the disk is full" --json
    """
    older_than = older_than or load_settings().store_retention
    if older_than < MIN_RETENTION:
        msg = f"operations read the events of the last days: keep {span(MIN_RETENTION)} or more"
        raise BadInputError(msg)
    before = datetime.now(UTC) - older_than
    with fleet_store() as opened:
        pruned = (
            opened.retention.preview(before)
            if dry_run
            else opened.retention.prune(before, operation(reason))
        )
    if json:
        print_json({**pruned.model_dump(mode="json"), "dry_run": dry_run})
        return
    print_line(
        f"{'would delete' if dry_run else 'deleted'} from before {moment(before)} UTC: "
        f"{pruned.events} events, {pruned.rollouts} rollouts, {pruned.machines} machines of pools, "
        f"{pruned.holds} holds"
    )


def _was(before: str | None) -> str:
    return f"it was at {before}" if before else "it had no tables"
