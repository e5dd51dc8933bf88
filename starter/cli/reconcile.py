"""`relight reconcile`: one pass that brings the fleet closer to what is declared."""

import uuid
from typing import Annotated

import typer
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy

from relight.domain.reconcile.plan import about_of
from relight.domain.reconcile.run import (
    RECONCILE_WORKFLOW_ID,
    ReconcileFleetInput,
    ReconcileRun,
)
from relight.settings import Settings
from starter.cli.operations import (
    cli_error,
    failure_fault,
    require_worker,
)
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import (
    BY_HAND,
    ReasonOption,
    origin,
    with_temporal,
)
from starter.cli.times import moment
from starter.schedules import reconcile_input
from workflows.fleet.reconcile import ReconcileFleet

app = typer.Typer()


@app.command()
def reconcile(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what a pass would do now, and why.")
    ] = False,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Look at the whole fleet, and begin what brings it back to what is declared.

    What is begun goes on by itself; this waits until all is begun, and looked at. A pass that is
    under way already is joined. The dry run shows the very plan that a pass would take, and
    writes nothing.

    [bold]Examples:[/]

      relight reconcile --dry-run
      relight reconcile --reason "after the outage"
      relight reconcile --dry-run --json | jq '.observed.plan.left_alone'
    """
    done = with_temporal(
        lambda client, settings: _pass(
            client, settings, reconcile_input(settings, origin(reason), dry_run=dry_run)
        )
    )
    if json:
        print_json(done)
        return
    _show(done)


async def _pass(client: Client, settings: Settings, asked: ReconcileFleetInput) -> ReconcileRun:
    await require_worker(client, settings.task_queue)
    dry = f"{RECONCILE_WORKFLOW_ID}/dry-run/{uuid.uuid4().hex[:8]}"
    handle = await client.start_workflow(
        ReconcileFleet.run,
        asked,
        id=dry if asked.dry_run else RECONCILE_WORKFLOW_ID,
        task_queue=settings.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="what a pass would do" if asked.dry_run else "a pass of reconciliation",
        static_details=f"Asked for by {asked.origin.requested_by}: {asked.origin.reason}",
    )
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error)) from None


def _show(done: ReconcileRun) -> None:
    observed = done.observed
    if observed is not None:
        plan = observed.plan
        if plan.actions:
            print_table(
                ("what", "about", "release", "why"),
                (
                    (
                        action.sweep.step if action.sweep else action.kind,
                        about_of(action),
                        action.release_tag,
                        action.reason,
                    )
                    for action in plan.actions
                ),
            )
        if plan.left_alone:
            print_table(
                ("left alone", "why"), ((each.about, each.reason) for each in plan.left_alone)
            )
        if plan.incident is not None:
            print_line(f"the breaker is open since {moment(plan.incident.opened_at)} UTC")
        for each in observed.unasked:
            print_line(f"not asked: {each}")
    if done.not_begun:
        print_table(("not begun", "why"), ((each.about, each.reason) for each in done.not_begun))
    print_line(done.summary)
