"""`relight schedule`: what Temporal does for us by the clock."""

import typer

from starter import schedules
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import with_temporal
from starter.cli.times import moment, span

app = typer.Typer(no_args_is_help=True)


@app.command()
def apply(json: JsonOption = False) -> None:
    """Bring Temporal's schedules to what this version says, as often as you like.

    Missing ones are added, those that differ changed, and those that bear our prefix and mean
    nothing any more removed. One that somebody paused stays paused. RELIGHT_RECONCILE_EVERY says
    how often the fleet is reconciled.

    [bold]Examples:[/]

      relight schedule apply
      RELIGHT_RECONCILE_EVERY=PT1M relight schedule apply --json
    """
    applied = with_temporal(schedules.apply)
    if json:
        print_json(applied)
        return
    for what, ids in applied.model_dump().items():
        for schedule_id in ids:
            print_line(f"{schedule_id}: {what}")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the schedules that are Relight's, with when each begins next.

    [bold]Examples:[/]

      relight schedule list
      relight schedule list --json | jq '.[] | select(.as_declared | not)'
    """
    found = with_temporal(schedules.seen)
    if json:
        print_json(found)
        return
    if not found:
        print_line("nothing is scheduled: `relight schedule apply` does so")
        return
    print_table(
        ("schedule", "every", "next (UTC)", "paused", "as declared"),
        (
            (
                each.schedule_id,
                span(each.every) if each.every else None,
                moment(each.next_at) if each.next_at else None,
                "yes" if each.paused else "no",
                "yes" if each.as_declared else "no",
            )
            for each in found
        ),
    )
