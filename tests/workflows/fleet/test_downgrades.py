"""Routes that are proven at a newer release than is declared: only a person takes them back."""

import pytest

from relight.domain.reconcile.plan import ActionKind
from tests.workflows.reconciler import kinds, left_alone

NEW = "v0.0.74"


async def test_a_route_at_a_newer_release_is_not_swapped_again_and_again(
    harness, reconciler, route_ids
):
    await (await harness.start_swap(route_ids[0], NEW)).result()
    for _ in range(2):
        done = await reconciler.run()
        assert ActionKind.SWAP not in kinds(done)
    command = f"`relight route swap {route_ids[0]} v0.0.73 --allow-downgrade`"
    assert command in left_alone(done)[f"route {route_ids[0]}"]
    assert harness.current_tags(route_ids) == [NEW, *["v0.0.73"] * 3]
    # One that is behind is swapped all the same.
    harness.store.fleet_settings.set("default_release_tag", NEW, harness.operation())
    done = await reconciler.run()
    assert {ActionKind.SWAP, ActionKind.START_ROLLOUT} & kinds(done).keys()


@pytest.mark.parametrize("newer", [4, 3], ids=["all of them", "all but one"])
async def test_routes_at_a_newer_release_are_not_rolled_out_to_again_and_again(
    harness, reconciler, route_ids, newer
):
    for each in route_ids[:newer]:
        await (await harness.start_swap(each, NEW)).result()
    for _ in range(2):
        done = await reconciler.run()
        assert ActionKind.START_ROLLOUT not in kinds(done)
    reason = left_alone(done)["scope fleet"]
    assert f"`relight rollout undo {NEW}`" in reason
    assert f"`relight rollout start {NEW}`" in reason


async def test_the_advice_for_a_route_of_a_track_names_its_track(harness, reconciler, route_ids):
    harness.store.tracks.set(harness.track, "v0.0.73", harness.operation())
    await (await harness.start_swap(route_ids[0], NEW)).result()
    reason = left_alone(await reconciler.run())[f"route {route_ids[0]}"]
    assert f"`relight rollout start {NEW} --track {harness.track}`" in reason
