"""`relight schedule`: the Temporal schedules of Relight."""

import typer

from relight.domain.duration import span
from starter import schedules
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import with_temporal
from starter.cli.times import moment

app = typer.Typer(no_args_is_help=True)


@app.command()
def apply(json: JsonOption = False) -> None:
    """Update Temporal's schedules to what this version declares. It is safe to repeat.

    Missing schedules are added, differing ones changed, and ones with the prefix `relight/` that
    are not declared removed. A paused schedule stays paused. RELIGHT_RECONCILE_EVERY sets how
    often the fleet is reconciled.

    [bold]Examples:[/]

      relight schedule apply
      RELIGHT_RECONCILE_EVERY=PT1M relight schedule apply --json
    """
    applied = with_temporal(schedules.apply)
    if json:
        print_json(applied)
        return
    for change, ids in applied.model_dump().items():
        for schedule_id in ids:
            print_line(f"{schedule_id}: {change}")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List Relight's schedules, with the next start of each.

    [bold]Examples:[/]

      relight schedule list
      relight schedule list --json | jq '.[] | select(.as_declared | not)'
    """
    found = with_temporal(schedules.list_schedules, reads_only=True)
    if json:
        print_json(found)
        return
    if not found:
        print_line("no schedules yet: add them with `relight schedule apply`")
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
