"""Finds the rollout that a command is about: by its tag and track, else the one that is running."""

from typing import NamedTuple

from relight.domain.image.image import ImageName
from relight.domain.names import (
    FLEET_SCOPE,
    ReleaseTag,
    ScopeName,
    TrackName,
    image_rollout_workflow_id,
    package_tag,
    revision_of,
    rollout_workflow_id,
    track_scope,
)
from relight.domain.rollout.answer import rollout_arguments
from relight.domain.rollout.rollout import Rollout
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.session import fleet_store


class RolloutName(NamedTuple):
    """The identity of a rollout.

    Attributes:
        run_id: its newest recorded run; None if there is none. A later run was refused.
        undo: whether it brings routes back from the release.
        image: the image of which it gives routes new machines; None: it swaps releases.
    """

    tag: ReleaseTag
    scope: ScopeName
    run_id: str | None = None
    undo: bool = False
    image: ImageName | None = None

    @property
    def workflow_id(self) -> str:
        """The id of its workflow."""
        if self.image is not None:
            return image_rollout_workflow_id(self.image, self.scope)
        return rollout_workflow_id(self.tag, self.scope, undo=self.undo)

    @property
    def arguments(self) -> str:
        """Its arguments on the command line."""
        return rollout_arguments(self.image or self.tag, self.scope)


def scope_of(track: TrackName | None) -> ScopeName:
    """Return the scope of a track; without a track, of the fleet."""
    return FLEET_SCOPE if track is None else track_scope(track)


def find(
    tag: ReleaseTag | None, track: TrackName | None, *, reads_only: bool = False
) -> RolloutName:
    """Return the rollout that a command is about.

    It is read from the store, not from Temporal's list: that list lags behind, and its newest
    entry can be a rollout that was refused.

    Args:
        tag: its release, with or without its configuration, or its image; None for the running
            rollout, else the newest. An undo counts as one.
        track: its track; None with a tag for the fleet, without a tag for any scope.
        reads_only: the command changes nothing.

    Raises:
        BadInputError: there has been no rollout.
        RefusedError: several are running.
    """
    with fleet_store(announces=not reads_only) as store:
        if tag is not None:
            names = [RolloutName(tag, scope_of(track), undo=undo) for undo in (False, True)]
            names.append(RolloutName(tag, scope_of(track), image=tag))
            recorded = [store.rollouts.get(name.workflow_id) for name in names]
            if revision_of(tag) is None:  # with whichever configuration
                scope = scope_of(track)
                recorded += [
                    each
                    for each in store.rollouts.list()
                    if each.scope == scope
                    and each.image_name is None
                    and package_tag(each.release_tag) == tag
                ]
            newest = max(filter(None, recorded), key=lambda each: each.opened_at, default=None)
            return names[0] if newest is None else _name(newest)
        known = [
            rollout
            for rollout in store.rollouts.list()
            if track is None or rollout.scope == track_scope(track)
        ]
    if not known:
        msg = "there has been no rollout" + (f" over {track_scope(track)}" if track else "")
        raise BadInputError(msg)
    running = [_name(rollout) for rollout in known if rollout.closed_at is None]
    if len(running) > 1:
        msg = "several rollouts are running; give one: " + ", or ".join(
            name.arguments for name in running
        )
        raise RefusedError(msg)
    return running[0] if running else _name(known[-1])


def _name(rollout: Rollout) -> RolloutName:
    tag, scope = rollout.release_tag, rollout.scope
    undo = rollout.workflow_id == rollout_workflow_id(tag, scope, undo=True)
    return RolloutName(tag, scope, rollout.run_id, undo=undo, image=rollout.image_name)
