"""`relight reconcile`: one reconcile run, or a dry run that shows its plan."""

import uuid
from typing import Annotated

import typer
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy

from relight.domain.fault.advice import UNKNOWN, advice_about
from relight.domain.reconcile.plan import about_of
from relight.domain.reconcile.run import (
    RECONCILE_WORKFLOW_ID,
    ReconcileFleetInput,
    ReconcileRun,
)
from relight.settings import Settings
from starter.cli.errors import BadInputError
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
    DEFAULT_REASON,
    ReasonOption,
    origin,
    with_temporal,
)
from starter.cli.times import moment
from starter.cli.waiting import (
    Patience,
    TimeoutOption,
    WaitOption,
    patience_of,
    print_started,
    within,
)
from starter.schedules import reconcile_input
from workflows.fleet.reconcile import ReconcileFleet

app = typer.Typer(add_completion=False)


@app.command()
def reconcile(
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only show the plan: what a run would do now, and why."),
    ] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Compare the fleet with its declared state, and start what brings it there.

    Started operations run independently: this waits until all are started and all observed
    routes are verified. If a reconcile run is active, this command joins it. The dry run shows
    the same plan that a run would follow, and writes nothing.

    [bold]Examples:[/]

      relight reconcile --dry-run
      relight reconcile --reason "after the outage"
      relight reconcile --dry-run --json | jq '.observed.plan.left_alone'
    """
    if dry_run and not wait:
        msg = "--no-wait and --dry-run exclude each other: the plan is the result"
        raise BadInputError(msg)
    patience = patience_of(timeout, waits=wait)
    result = with_temporal(
        lambda client, settings: _run(
            client, settings, reconcile_input(settings, origin(reason), dry_run=dry_run), patience
        ),
        reads_only=dry_run,
    )
    if result is None:
        print_started(RECONCILE_WORKFLOW_ID, "the reconcile run", "relight reconcile", as_json=json)
        return
    if json:
        print_json(result)
        return
    _show(result)


async def _run(
    client: Client, settings: Settings, input: ReconcileFleetInput, patience: Patience
) -> ReconcileRun | None:
    await require_worker(client, settings.task_queue)
    dry_run_id = f"{RECONCILE_WORKFLOW_ID}/dry-run/{uuid.uuid4().hex[:8]}"
    handle = await client.start_workflow(
        ReconcileFleet.run,
        input,
        id=dry_run_id if input.dry_run else RECONCILE_WORKFLOW_ID,
        task_queue=settings.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="reconcile: dry run" if input.dry_run else "reconcile run",
        static_details=f"Requested by {input.origin.requested_by}: {input.origin.reason}",
    )
    if not patience.waits:
        return None
    try:
        return await within(patience, handle.result(), handle.id, "relight reconcile")
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error)) from None


def _show(result: ReconcileRun) -> None:
    observed = result.observed
    if observed is not None:
        plan = observed.plan
        if plan.actions:
            print_table(
                ("action", "subject", "release", "reason"),
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
                ("left alone", "reason"), ((each.about, each.reason) for each in plan.left_alone)
            )
        if plan.incident is not None:
            print_line(f"the breaker has been open since {moment(plan.incident.opened_at)} UTC")
            if plan.incident.to_do:
                print_line(plan.incident.to_do)
        for fault in plan.faults:
            print_line(f"incident: {fault.summary}")
            print_line(f"  {advice_about(fault.kind, UNKNOWN)}")
        for each in observed.unobserved:
            print_line(f"not observed: {each}")
    if result.not_started:
        print_table(
            ("not started", "reason"), ((each.about, each.reason) for each in result.not_started)
        )
    if result.not_verified:
        print_table(
            ("not verified", "reason"), ((each.about, each.reason) for each in result.not_verified)
        )
    print_line(result.summary)
