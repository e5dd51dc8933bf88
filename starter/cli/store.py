"""`relight store`: the tables behind all other commands."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from relight.domain.duration import span
from relight.domain.retention import MIN_RETENTION
from relight.home import existing_store_url
from relight.settings import load_settings
from starter.cli.confirmation import YesOption, confirm
from starter.cli.errors import BadInputError
from starter.cli.output import JsonOption, print_json, print_line
from starter.cli.session import DEFAULT_REASON, ReasonOption, announce, fleet_store, operation
from starter.cli.times import duration_option, moment

app = typer.Typer(no_args_is_help=True)


@app.callback()
def store() -> None:
    """The store: the fleet's declared and actual state, and the log of all changes."""


@app.command()
def upgrade(json: JsonOption = False) -> None:
    """Make the store's tables, or bring them to this version of Relight. It is safe to repeat.

    RELIGHT_STORE_URL names the store; without it, it is a file in the home folder, which
    `relight up` or `relight init` has made. No other command changes tables, but these two do in
    their own home folder. Back the store up first: commands and new workers of an older version
    refuse it afterwards.

    [bold]Examples:[/]

      relight store upgrade
      RELIGHT_STORE_URL=postgresql://relight@db.example/relight relight store upgrade --json
    """
    # Slow to import: only commands that need them do so.
    from relight.store.migrate import newest_revision  # noqa: PLC0415
    from relight.store.store import Store  # noqa: PLC0415

    settings = load_settings()
    url = existing_store_url(settings)
    announce(settings)
    with Store.open(url) as opened:
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
            parser=duration_option,
            help="How long ago it ended: 180d, 26w.  \\[default: RELIGHT_STORE_RETENTION]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")
    ] = False,
    yes: YesOption = False,
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
    confirm(f"what ended before {moment(before)} UTC is deleted", yes=yes or dry_run)
    with fleet_store(reads_only=dry_run) as opened:
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
        f"{pruned.holds} holds, {pruned.configurations} configurations"
    )


@app.command()
def check(json: JsonOption = False) -> None:
    """Compare the store with providers and hosts, and say which is behind. Nothing is changed.

    After a restore of a backup the store may be older than the fleet. Exit codes: 0 all agree, 1
    something is behind, 3 nothing is behind as far as it could be compared.

    [bold]Examples:[/]

      relight store check
      relight store check --json | jq '.comparisons[] | select(.verdict == "record behind")'
    """
    # Slow to import: only commands that need it do so.
    from starter.cli import store_comparison  # noqa: PLC0415

    store_comparison.check(as_json=json)


@app.command("adopt-current")
def adopt_current(
    track: Annotated[
        str | None,
        typer.Option(help="The track of routes that are not on record. Without it they stay so."),
    ] = None,
    older: Annotated[
        bool,
        typer.Option(
            "--older", help="Take older releases too: the backup is from before a rollback."
        ),
    ] = False,
    serves: Annotated[
        list[str] | None,
        typer.Option(
            "--serves",
            metavar="ROUTE=KEY",
            help="A machine of the pool serves this route: it was claimed since the backup.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be taken, and take nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Take into the store what is proven now: releases of routes, and their machines.

    Each host that is newer than its record is proven first. A release at which all routes of a
    scope are proven becomes the declared one. Nothing at providers or on hosts is changed. After
    it, reconciliation works again on what was in doubt. Exit codes: 0 all is taken, 1 something
    could not be taken, 3 something could not be compared.

    [bold]Examples:[/]

      relight store adopt-current --dry-run
      relight store adopt-current --reason "restored the backup of Monday"
      relight store adopt-current --serves eu-1=pool-lab-lab-east-3 --reason "DNS says so"
      relight store adopt-current --yes --json | jq .count
    """
    from starter.cli import store_comparison  # noqa: PLC0415

    store_comparison.adopt(
        track=track,
        older=older,
        serves=serves or [],
        dry_run=dry_run,
        yes=yes,
        reason=reason,
        as_json=json,
    )


def _was(before: str | None) -> str:
    return f"it was at {before}" if before else "it had no tables"


TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="The table's name.")]
KeyArgument = Annotated[
    list[str], typer.Argument(metavar="KEY...", help="The values of the row's primary key.")
]


@app.command("bad-rows")
def list_bad_rows(json: JsonOption = False) -> None:
    """List the rows that were made invalid by hand, with what is wrong. It reads every table.

    Other commands and workers leave such a row alone, and read the rows beside it.

    [bold]Example:[/]

      relight store bad-rows
    """
    with fleet_store(reads_only=True) as opened:
        found = list(opened.row_repair.list())
    if json:
        print_json([{"table": bad.table, "key": bad.key, "problem": bad.problem} for bad in found])
        return
    for bad in found:
        print_line(str(bad))
    if not found:
        print_line("every row is valid")


@app.command("repair-row")
def repair_row(
    table: TableArgument,
    words: Annotated[
        list[str],
        typer.Argument(metavar="KEY... COLUMN=VALUE...", help="The row, and what to set in it."),
    ],
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Set columns of a row, which must be valid afterwards. An empty VALUE means none.

    [bold]Examples:[/]

      relight store repair-row routes r-1 status=serving
      relight store repair-row pool_sizes lab lab-east size=2 --reason "a typing error"
    """
    key = [word for word in words if "=" not in word]
    values = dict(word.split("=", 1) for word in words if "=" in word)
    if not values:
        raise BadInputError("nothing to set: add COLUMN=VALUE")
    with fleet_store() as opened:
        opened.row_repair.repair(table, key, values, operation(reason))
    _print_changed(json, table, key, "repaired")


@app.command("remove-row")
def remove_row(
    table: TableArgument,
    key: KeyArgument,
    yes: YesOption = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Delete an invalid row. A valid one is refused: other commands remove what it describes.

    Without its row, a machine is one that no record knows: a sweep may destroy it.

    [bold]Example:[/]

      relight store remove-row holds 7 --reason "nobody knows what it was"
    """
    confirm(f"the row {table} {' '.join(key)} is deleted", yes=yes)
    with fleet_store() as opened:
        opened.row_repair.remove(table, key, operation(reason))
    _print_changed(json, table, key, "deleted")


def _print_changed(json: bool, table: str, key: list[str], what: str) -> None:
    if json:
        print_json({"table": table, "key": key, what: True})
    else:
        print_line(f"{table} {' '.join(key)}: {what}")
