"""The pool's release: the last one that the gates let through, not the declared one.

A pool that followed the declaration would put a release that nobody has tried on all its machines.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from relight.domain.base import Message
from relight.domain.names import ReleaseTag


@dataclass(frozen=True)
class ReleaseEvidence:
    """What is known of the releases of the fleet's scope: of tracks without an override.

    Attributes:
        declared: the fleet's default release; None if none is declared.
        converged: releases whose last rollout converged, the last one last.
        refused: why a release has not passed, for those whose last rollout did not converge: it is
            open, was stopped, aborted, superseded, undone or rolled back.
        open: releases that a rollout or its undo is open of.
        on_routes: how many routes were last proven at each release.
        has_routes: there are routes, proven or not.
        in_pool: how many machines of the region's pool were last proven at each release.
    """

    declared: ReleaseTag | None
    converged: tuple[ReleaseTag, ...] = ()
    refused: Mapping[ReleaseTag, str] = field(default_factory=dict)
    open: Collection[ReleaseTag] = ()
    on_routes: Mapping[ReleaseTag, int] = field(default_factory=dict)
    has_routes: bool = False
    in_pool: Mapping[ReleaseTag, int] = field(default_factory=dict)


class PoolRelease(Message):
    """The release for a pool.

    Attributes:
        tag: None if none has passed.
        reason: why; one sentence for a person.
    """

    tag: ReleaseTag | None
    reason: str


def pool_release(evidence: ReleaseEvidence) -> PoolRelease:
    """Return the release for a pool.

    The declared one, if its last rollout converged, or if it had none and most routes run it.
    Otherwise what most routes run, else what converged last. A fleet without routes has no gates
    yet: its pool keeps the release that was proven in it, and a new pool takes the declared one.
    """
    declared, refused = evidence.declared, evidence.refused
    if declared is None:
        return PoolRelease(tag=None, reason="no release is declared")
    if declared in evidence.converged:
        return PoolRelease(tag=declared, reason="its rollout has converged")
    for proven, where in ((evidence.on_routes, "routes"), (evidence.in_pool, "pool machines")):
        if where != "routes" and evidence.has_routes:
            continue
        tag = _most(proven, refused, declared)
        if tag is not None:
            reason = f"most {where} were proven at it"
            return PoolRelease(tag=tag, reason=_instead_of(declared, tag, refused, reason))
    if evidence.converged:
        tag = evidence.converged[-1]
        return PoolRelease(
            tag=tag, reason=_instead_of(declared, tag, refused, "its rollout converged last")
        )
    if evidence.has_routes or declared in refused:
        why = refused.get(declared, "no route was proven at it yet")
        if declared in evidence.on_routes and declared not in evidence.open:
            # As after a store was restored in whose record the release was undone.
            why += f", but routes run it: it passes if `relight rollout start {declared}` converges"
        return PoolRelease(tag=None, reason=f"{declared} has not passed: {why}")
    return PoolRelease(tag=declared, reason="it is declared, and no route exists yet")


def _most(
    proven: Mapping[ReleaseTag, int], refused: Mapping[ReleaseTag, str], declared: ReleaseTag
) -> ReleaseTag | None:
    """Return the release with most machines that is not refused; of several the declared one."""
    passed = [(count, tag == declared, tag) for tag, count in proven.items() if tag not in refused]
    return max(passed)[2] if passed else None


def _instead_of(
    declared: ReleaseTag, tag: ReleaseTag, refused: Mapping[ReleaseTag, str], reason: str
) -> str:
    if tag == declared:
        return reason
    why = refused.get(declared, "it has not passed a rollout")
    return f"{reason}; {declared} is declared, but {why}"
