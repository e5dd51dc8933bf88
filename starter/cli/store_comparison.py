"""`relight store check` and `adopt-current`: the record against providers and hosts."""

import uuid
from collections.abc import Sequence

import typer
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.comparison import (
    STORE_ADOPT_WORKFLOW_ID,
    CompareRecordsInput,
    RecordsCompared,
    Verdict,
)
from relight.domain.names import RouteId
from relight.settings import Settings
from starter.cli.confirmation import ask, can_ask
from starter.cli.errors import BadInputError, ExitCode, RefusedError
from starter.cli.names import route_id_of
from starter.cli.operations import cli_error, failure_fault, require_worker
from starter.cli.output import print_json, print_line, print_table
from starter.cli.session import DEFAULT_REASON, origin, with_temporal
from workflows.fleet.comparison import CompareRecords

_BEHIND = frozenset({Verdict.RECORD_BEHIND, Verdict.HOST_BEHIND, Verdict.MACHINE_MISSING})


def check(*, as_json: bool) -> None:
    """Compare, and print what does not agree. Nothing is written.

    Raises:
        typer.Exit: something is behind, or could not be compared.
    """
    found = _compared(CompareRecordsInput(origin=origin(DEFAULT_REASON)))
    _print(found, as_json=as_json)
    _exit(found, _BEHIND)


def adopt(
    *,
    track: str | None,
    older: bool,
    serves: Sequence[str],
    dry_run: bool,
    yes: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Take what is proven now into the store, after a confirmation.

    Raises:
        BadInputError: a confirmation is needed, and JSON is asked for, or there is no terminal; or
            a `ROUTE=KEY` is none.
        RefusedError: it was not confirmed.
        UnansweredError: nor refused.
        typer.Exit: something could not be adopted.
    """
    if not (yes or dry_run) and (as_json or not can_ask()):
        msg = "nobody is asked with --json, nor without a terminal: add --yes, or --dry-run"
        raise BadInputError(msg)
    wanted = CompareRecordsInput(
        origin=origin(reason), track=track, older=older, serves=_serving(serves)
    )
    left = {Verdict.RECORD_BEHIND, Verdict.UNKNOWN, *({Verdict.HOST_BEHIND} if older else ())}
    if not yes:
        found = _compared(wanted)
        _print(found, as_json=as_json)
        if dry_run:
            return
        if not any(found.count.get(each) for each in left):
            return
        ask("Take what is proven now into the store?")
    adopted = _compared(wanted.model_copy(update={"adopt": not dry_run}))
    _print(adopted, as_json=as_json)
    _exit(adopted, frozenset(left) - {Verdict.UNKNOWN})


def _serving(words: Sequence[str]) -> dict[RouteId, str]:
    """Return the keys of machines by the route that each serves, from `ROUTE=KEY`."""
    serving = {}
    for word in words:
        route_id, equals, key = word.partition("=")
        if not equals or not key:
            msg = f"{word} is not of the form ROUTE=KEY"
            raise BadInputError(msg)
        serving[route_id_of(route_id)] = key
    return serving


def _compared(input: CompareRecordsInput) -> RecordsCompared:
    return with_temporal(
        lambda client, settings: _run(client, settings, input), reads_only=not input.adopt
    )


async def _run(client: Client, settings: Settings, input: CompareRecordsInput) -> RecordsCompared:
    await require_worker(client, settings.task_queue)
    workflow_id = STORE_ADOPT_WORKFLOW_ID if input.adopt else f"store/check/{uuid.uuid4().hex[:8]}"
    try:
        return await client.execute_workflow(
            CompareRecords.run,
            input,
            id=workflow_id,
            task_queue=settings.task_queue,
            static_summary="adopt what is proven now" if input.adopt else "compare the record",
            static_details=f"Requested by {input.origin.requested_by}: {input.origin.reason}",
        )
    except WorkflowAlreadyStartedError:
        msg = f"it runs already: in the Temporal UI it is {workflow_id}"
        raise RefusedError(msg) from None
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error)) from None


def _print(found: RecordsCompared, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if found.comparisons:
        print_table(
            ("about", "which", "on record", "found", "reason"),
            (
                (each.about, each.verdict.value, each.recorded, each.found, each.reason)
                for each in found.comparisons
            ),
        )
    for each in found.unobserved:
        print_line(f"not compared: {each}")
    counts = ", ".join(f"{found.count[each]} {each}" for each in Verdict if found.count.get(each))
    print_line(counts or "nothing is on record")
    if found.count.get(Verdict.RECORD_BEHIND):
        print_line("`relight store adopt-current` takes what is proven now into the store")


def _exit(found: RecordsCompared, failed: frozenset[Verdict]) -> None:
    """End with 1 if anything has one of these verdicts, with 3 if something was not compared."""
    if any(found.count.get(each) for each in failed):
        raise typer.Exit(ExitCode.FAILED)
    if found.unobserved or found.count.get(Verdict.UNKNOWN):
        raise typer.Exit(ExitCode.REFUSED)
