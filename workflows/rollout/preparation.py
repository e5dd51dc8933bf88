"""What a rollout does before its first wave: check the release, claim the scope, plan the waves."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow

from relight.domain.fault.table import fault
from relight.domain.image.choice import CheckImageRolloutInput
from relight.domain.image.image import ImageName
from relight.domain.names import ReleaseTag, scope_track
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.rollout.records import OpenRolloutInput, RolloutOpened
from relight.domain.rollout.rollout import (
    CheckRolloutInput,
    FindUndoInput,
    PlanRolloutInput,
    PlanUndoInput,
    PreflightInput,
    RolloutPlan,
    RolloutReleaseInput,
)
from relight.domain.route import ListRoutesInput
from workflows.failures import failure, ignore_ended
from workflows.rollout.controls import ControlledRollout, run_id
from workflows.rollout.steps import (
    ImageRolloutActivities,
    OpeningActivities,
    PreflightActivities,
    ReleaseActivities,
    RolloutActivities,
    UndoActivities,
)
from workflows.rollout.waiting import longer

CLAIM_PAUSE = timedelta(seconds=1)
"""Between attempts to claim a scope from the superseded rollout. Each pause is longer."""


async def check(input: RolloutReleaseInput, *, lean: bool) -> Release:
    """Resolve the release and run the preflight. Nothing is written, and nothing is claimed.

    Args:
        input: of the rollout.
        lean: in one activity. Older histories have several.
    """
    if input.undo:
        return await _check_undo(input, lean=lean)
    if input.image_name:
        return await _check_image(input, input.image_name)
    if lean:
        return await _check_release(input, input.release_tag)
    scope = input.scope
    architectures = await RolloutActivities.architectures.local(ListRoutesInput(scope=scope))
    if not architectures.names:
        text = f"no route in scope {scope} serves: there is nothing to roll out to"
        raise failure(fault("no-routes", text))
    release = await ReleaseActivities.resolve_release(
        ResolveReleaseInput(
            tag=input.release_tag, architectures=architectures.names, for_rollout=True
        )
    )
    await PreflightActivities.preflight(
        PreflightInput(
            release=release,
            scope=scope,
            checks=input.strategy.checks,
            roll_back=input.strategy.roll_back,
            origin=input.origin,
        )
    )
    return release


async def _check_release(input: RolloutReleaseInput, tag: ReleaseTag) -> Release:
    strategy = input.strategy
    return await OpeningActivities.check_rollout(
        CheckRolloutInput(
            tag=tag,
            scope=input.scope,
            checks=strategy.checks,
            undo=input.undo,
            roll_back=strategy.roll_back,
            origin=input.origin,
        )
    )


async def _check_image(input: RolloutReleaseInput, image_name: ImageName) -> Release:
    """Check that each region of the scope has the image, and that the releases run on it."""
    checked = await ImageRolloutActivities.check_image_rollout(
        CheckImageRolloutInput(
            image_name=image_name, scope=input.scope, checks=input.strategy.checks
        )
    )
    return await ReleaseActivities.resolve_release(
        ResolveReleaseInput(tag=input.release_tag, architectures=(checked.architecture,))
    )


async def _check_undo(input: RolloutReleaseInput, *, lean: bool) -> Release:
    """Check every release that routes go back to; return the one that most go back to."""
    scope, undone = input.scope, input.release_tag
    found = await UndoActivities.find_undo.local(FindUndoInput(release_tag=undone, scope=scope))
    if not found.tags:
        text = (
            f"no route of scope {scope} is at {undone}, as `relight route list` shows: "
            "there is nothing to undo"
        )
        if scope_track(scope) is None:
            text += (
                ". A track with a release of its own, as `relight track show` lists, is a scope of "
                f"its own: `relight rollout undo {undone}` takes it with --track"
            )
        raise failure(fault("no-routes", text))
    releases = []
    for tag in found.tags:
        if lean:
            releases.append(await _check_release(input, tag))
            continue
        release = await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=tag, architectures=found.architectures)
        )
        await PreflightActivities.preflight(
            PreflightInput(
                release=release,
                scope=scope,
                checks=input.strategy.checks,
                undo=True,
                origin=input.origin,
            )
        )
        releases.append(release)
    return releases[0]


async def claim(
    input: RolloutReleaseInput,
    release: Release,
    is_over: Callable[[], bool],
    report: Callable[[str], None],
    *,
    lean: bool,
) -> RolloutOpened | None:
    """Claim the scope. A rollout that holds it is superseded, and its end is awaited.

    Args:
        input: of the rollout.
        release: what `check` returned.
        is_over: returns whether the rollout has ended meanwhile.
        report: receives what is waited for.
        lean: in one local activity, which also plans unless it is an undo.

    Returns:
        None if the rollout has ended before it could claim the scope.
    """
    claim_scope = RolloutActivities.open_rollout.local if lean else RolloutActivities.open_rollout
    superseded_run_id: str | None = None
    pause, since = CLAIM_PAUSE, workflow.now()
    while not is_over():
        opened = await claim_scope(
            OpenRolloutInput(
                rollout_run_id=run_id(),
                release_tag=input.release_tag,
                scope=input.scope,
                origin=input.origin,
                release=None if input.undo or input.image_name else release,
                image_name=input.image_name,
                plan=_request(input, release) if lean and not input.undo else None,
            )
        )
        if opened.held_by is None:
            return opened
        holder = opened.held_by
        if input.image_name and holder.image_name is None:
            # It would be left half done: a rollout of an image does not complete a release's.
            text = (
                f"the rollout of {holder.release_tag} over {input.scope} is open: machines are "
                "replaced once it has ended"
            )
            raise failure(fault("scope-busy", text))
        if holder.run_id != superseded_run_id:
            superseded_run_id, pause = holder.run_id, CLAIM_PAUSE
            handle = workflow.get_external_workflow_handle(holder.workflow_id)
            await ignore_ended(handle.signal(ControlledRollout.supersede, input))
            what = holder.image_name or holder.release_tag
            waits_for = f"the rollout of {what}, which it supersedes, to end"
            report(f"waiting for {waits_for}")
        with suppress(TimeoutError):
            await workflow.wait_condition(
                is_over,
                timeout=pause,
                timeout_summary=f"wait for {holder.workflow_id} to free the scope",
            )
        pause = longer(pause, workflow.now() - since)
    return None


async def make_plan(input: RolloutReleaseInput, release: Release) -> RolloutPlan:
    """Plan the waves, of the fleet as the superseded rollout left it."""
    request = _request(input, release)
    if input.undo:
        undo = PlanUndoInput(**dict(request), undone=input.release_tag)
        return await UndoActivities.plan_undo.local(undo)
    return await RolloutActivities.plan_rollout.local(request)


def _request(input: RolloutReleaseInput, release: Release) -> PlanRolloutInput:
    return PlanRolloutInput(
        rollout_run_id=run_id(),
        release=release,
        scope=input.scope,
        strategy=input.strategy,
        origin=input.origin,
        image_name=input.image_name,
    )
