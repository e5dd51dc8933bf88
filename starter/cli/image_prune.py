"""A prune of images: shown first, and carried out if a person agrees."""

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.image.prune import PRUNE_WORKFLOW_ID, ImagesPruned, PruneImagesInput
from starter.cli.confirmation import confirm
from starter.cli.errors import OperationFailedError, RefusedError
from starter.cli.operations import cli_error, failure_fault, require_worker
from starter.cli.output import print_json, print_line, print_table
from starter.cli.session import origin, with_temporal
from workflows.image.prune import PruneImages


def run(
    keep: int, provider: str | None, reason: str, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Show what a prune deletes, and delete it.

    Args:
        keep: how many of the newest images a region keeps, per architecture.
        provider: only this one; None for all.
        reason: for the event log.
        dry_run: only show it.
        yes: do not ask.
        as_json: print JSON.

    Raises:
        CliError: it was refused, or a region or an image could not be pruned.
    """
    asked = PruneImagesInput(keep=keep, provider=provider, origin=origin(reason))
    result = _prune(asked)
    deletes = result.deleted
    if not as_json:
        _print(result, "goes")
    if deletes and not dry_run:
        confirm(f"{len(deletes)} images are deleted", yes=yes)
        result = _prune(asked.model_copy(update={"delete": deletes}))
        if not as_json:
            _print(result, "deleted")
    if as_json:
        print_json({**result.model_dump(mode="json"), "dry_run": dry_run})
    if not as_json and result.left:
        print_line(f"{result.left} more go by the next prune")
    if result.faults:
        what = "; ".join(f"{place}: {fault.summary}" for place, fault in result.faults)
        raise OperationFailedError(f"not all could be pruned: {what}")


def _prune(asked: PruneImagesInput) -> ImagesPruned:
    ended: list[ImagesPruned] = []

    async def prune(client: Client, task_queue: str) -> None:
        await require_worker(client, task_queue)
        try:
            ended.append(
                await client.execute_workflow(
                    PruneImages.run,
                    asked,
                    id=PRUNE_WORKFLOW_ID,
                    task_queue=task_queue,
                    static_summary="prune images" if asked.delete else "show what a prune deletes",
                )
            )
        except WorkflowAlreadyStartedError:
            msg = f"another prune of images is running: {PRUNE_WORKFLOW_ID} in the Temporal UI"
            raise RefusedError(msg) from None
        except WorkflowFailureError as error:
            raise cli_error(failure_fault(error)) from None

    with_temporal(lambda client, settings: prune(client, settings.task_queue))
    return ended[0]


def _print(result: ImagesPruned, deed: str) -> None:
    """Print what becomes of each image; those that stay without being asked for are counted."""
    decisions = [(region, decision) for region in result.regions for decision in region.decisions]
    if not decisions:
        print_line("no images of this fleet")
        return
    print_table(
        ("region", "image", "id", "", "reason"),
        (
            (
                f"{region.provider}/{region.region}",
                decision.image.name,
                decision.image.image_id,
                deed if decision.deleted else "stays",
                decision.reason,
            )
            for region, decision in decisions
        ),
        styles={"goes": "yellow", "deleted": "bold red"},
    )
