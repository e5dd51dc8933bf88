"""A publication of an image, started and followed by a command."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.image.publication import (
    ImageInRegion,
    ImagePublication,
    PublicationOutcome,
    PublicationStatus,
    PublishImageInput,
    image_workflow_id,
)
from relight.store.store import Store
from relight.store.threads import in_thread
from starter.cli.cancel import OPERATION_CANCELLED, cancel_run, running_workflow
from starter.cli.errors import OperationFailedError, RefusedError
from starter.cli.operations import cli_error, failure_fault, require_worker
from starter.cli.output import note, print_json, print_line, print_table
from starter.cli.session import fleet_store, operation, origin, with_temporal
from starter.cli.waiting import Patience, print_started, within
from workflows.endings import result_of
from workflows.image.publish import PublishImage

POLL_EVERY = timedelta(seconds=1)

_STYLES = {"published": "green", "failed": "bold red"}

Handle = WorkflowHandle[PublishImage, ImagePublication]


def run(options: Mapping[str, object], *, patience: Patience, reason: str, as_json: bool) -> None:
    """Publish an image, or follow the publication of it that runs.

    Args:
        options: of `PublishImageInput`.
        patience: how long its end is waited for.
        reason: for the event log.
        as_json: print JSON.

    Raises:
        CliError: it was refused, or not every region has the image.
    """
    asked = PublishImageInput.model_validate({**options, "origin": origin(reason)})
    later = f"relight image publish {asked.name} --missing"

    async def ask(client: Client, task_queue: str) -> None:
        await require_worker(client, task_queue)
        handle = await _start(client, task_queue, asked)
        if not patience.waits:
            what = f"the publication of {asked.name}"
            print_started(handle.id, what, later, as_json=as_json)
            return
        with fleet_store(announces=False) as store:
            following = _follow(store, asked.name, handle)
            _end(await within(patience, following, handle.id, later), later, as_json=as_json)

    with_temporal(lambda client, settings: ask(client, settings.task_queue))


def cancel(name: str, *, patience: Patience, reason: str, as_json: bool) -> None:
    """End the publication of an image, and say which regions have it.

    Args:
        name: of the image.
        patience: how long its end is waited for.
        reason: for the event log.
        as_json: print JSON.

    Raises:
        RefusedError: no publication of it runs.
    """
    later = f"relight image show {name}"

    async def ask(client: Client) -> None:
        running = await running_workflow(client, image_workflow_id(name))
        if running is None:
            raise RefusedError(f"no publication of {name} runs: see `{later}`")
        with fleet_store() as store:
            detail = {"operation": running.workflow_type, "run_id": running.run_id, "name": name}
            store.events.append(OPERATION_CANCELLED, operation(reason), detail=detail)
            note(f"{name}: the publication is told to end; imports under way are withdrawn first")
            what = f"the publication of {name}"
            ended = await cancel_run(client, running, what, later, patience, as_json=as_json)
            if ended is None:
                return
            regions = await in_thread(lambda: store.images.list(name=name))
        has_it = [each.place for each in regions if each.status is PublicationStatus.PUBLISHED]
        if as_json:
            print_json({"name": name, "ended": ended, "regions": has_it})
        else:
            where = f"; {', '.join(has_it)} have it" if has_it else "; no region has it"
            print_line(f"{name}: the publication has ended: {ended}{where}. See `{later}`")

    with_temporal(lambda client, _: ask(client))


async def _start(client: Client, task_queue: str, asked: PublishImageInput) -> Handle:
    workflow_id = image_workflow_id(asked.name)
    try:
        return await client.start_workflow(
            PublishImage.run,
            asked,
            id=workflow_id,
            task_queue=task_queue,
            static_summary=f"publish {asked.name}",
            static_details=f"Requested by {asked.origin.requested_by}: {asked.origin.reason}",
        )
    except WorkflowAlreadyStartedError:
        note(f"{asked.name} is being published already: this is that publication, as it was asked")
        return client.get_workflow_handle_for(PublishImage.run, workflow_id)


async def _follow(store: Store, name: str, handle: Handle) -> ImagePublication:
    """Return how a publication ends; until then, print what changes.

    Raises:
        CliError: it was refused, or failed without a result.
    """
    result, shown = asyncio.create_task(handle.result()), ""
    try:
        while not result.done():
            await asyncio.wait([result], timeout=POLL_EVERY.total_seconds())
            text = _progress(await in_thread(lambda: store.images.list(name=name)))
            if text not in {shown, ""} and not result.done():
                note(text)
                shown = text
        return await result_of(result, ImagePublication)
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error)) from None
    finally:
        result.cancel()


def _progress(images: list[ImageInRegion]) -> str:
    """Return how far a publication is: `4 published, 6 importing, 17 waiting`."""
    counts = Counter(each.status for each in images)
    return ", ".join(f"{counts[each]} {each}" for each in _ORDER if counts[each])


_ORDER = (
    PublicationStatus.PUBLISHED,
    PublicationStatus.IMPORTING,
    PublicationStatus.WAITING,
    PublicationStatus.FAILED,
)


def _end(result: ImagePublication, later: str, *, as_json: bool) -> None:
    """Print which regions have the image, and why the others do not.

    Raises:
        OperationFailedError: one does not have it.
    """
    if as_json:
        print_json({**result.model_dump(mode="json"), "outcome": result.outcome})
    elif not result.regions:
        print_line(f"{result.name}: no region lacks it")
    else:
        _print_regions(result)
    if result.outcome is not PublicationOutcome.PUBLISHED:
        raise OperationFailedError(f"{result.text}. `{later}` takes up the rest")
    if not as_json and result.regions:
        print_line(result.text)


def _print_regions(result: ImagePublication) -> None:
    print_table(
        ("provider", "region", "status", "attempts", "image id", "reason"),
        (
            (
                each.provider,
                each.region or None,
                "failed" if each.fault else "published",
                each.attempts or None,
                each.image_id,
                f"{each.fault.kind}: {each.fault.summary}" if each.fault else None,
            )
            for each in result.regions
        ),
        styles=_STYLES,
    )
