"""Rollouts of a release that was built again: the same version with other content."""

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.rollout.rollout import RolloutPhase
from tests.workflows.harness import Harness


def digests(harness: Harness) -> set[str]:
    """Return the digests by which the fleet knows the release."""
    known = harness.store.releases.pinned("v0.0.74")
    assert known is not None
    return {each.sha256 for each in known.deb_files}


async def test_it_means_its_new_content_once_its_rollout_has_begun(
    harness: Harness, route_ids: list[str]
) -> None:
    first = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)
    await first.result()
    before = digests(harness)
    harness.releases.rebuild("v0.0.74")
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)
    with pytest.raises(WorkflowFailureError) as caught:
        await rollout.result()
    assert "with --keep-failed the rollout starts" in str(caught.value.cause)
    assert digests(harness) == before  # so that no host counts as changed
    assert [harness.hosts.of(each).installs for each in route_ids] == [["0.0.73", "0.0.74"]] * 6
    again = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, roll_back=False
    )
    assert (await again.result()).phase is RolloutPhase.CONVERGED
    assert digests(harness) == {"b" * 64}
