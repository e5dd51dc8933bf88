"""The rollout of an image: routes get new machines, wave by wave, with the releases they have."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from relight.domain.rollout.rollout import RolloutPhase, RolloutStatus, RouteProgress
from relight.domain.route import RouteStatus
from relight.images.contract_file import parse_contract
from relight.store.images import Place
from tests.store.images import publish
from tests.workflows.harness import Harness
from tests.workflows.installation import small_installation
from tests.workflows.pools import keep_pool, until_pool_is_kept
from tests.workflows.replacing import replace
from tests.workflows.rollout.conftest import six_routes
from tests.workflows.rollout.test_rollback import CONTROL
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

OLD, NEW = "base-1-amd64", "base-2-amd64"
RELEASE = "v0.0.73"

Rollout = WorkflowHandle[RolloutRelease, RolloutStatus]


def publish_in(harness: Harness, name: str, *regions: str, **manifest: object) -> None:
    for region in regions or harness.cloud.REGIONS:
        publish(harness.store, Place(harness.cloud.name, region), name, **manifest)


async def start(harness: Harness, name: str = NEW, **strategy: Any) -> Rollout:
    return await harness.start_rollout(RELEASE, image_name=name, **strategy)


def images(harness: Harness, route_ids: list[str]) -> list[str | None]:
    """Return the image of the machine of each route."""
    machines = [harness.route(each).machine for each in route_ids]
    records = [harness.store.machines.get(each.key) for each in machines if each is not None]
    return [each.image_name for each in records if each is not None]


async def refused(rollout: Rollout) -> str:
    with pytest.raises(WorkflowFailureError) as error:
        await rollout.result()
    return fault_of(error.value.cause).summary


async def test_every_route_gets_a_machine_of_the_image_and_keeps_its_release(harness, route_ids):
    publish_in(harness, NEW)
    ended = await harness.ended(await start(harness, waves=("1", "3", "100%"), max_concurrent=3))
    assert (ended.phase, ended.image_name, ended.waves) == (RolloutPhase.CONVERGED, NEW, 3)
    assert ended.counts == {RouteProgress.CONVERGED: 6}
    assert images(harness, route_ids) == [NEW] * 6
    assert harness.current_tags(route_ids) == [RELEASE] * 6
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}
    # The limits of destructions apply: some of the old machines wait.
    await harness.until(lambda: bool(harness.destroyed()))
    old = [harness.store.machines.get(f"{each}-g1") for each in route_ids]
    assert {each.status for each in old if each} <= {"draining", "destroyed"}
    assert harness.store.fleet_settings.get("default_release_tag") == RELEASE


async def test_machines_of_the_image_are_taken_from_the_pool_and_no_others(harness):
    route_ids = [await harness.serving_route() for _ in range(3)]
    await harness.pool_machine()  # of no image
    publish_in(harness, NEW)
    await keep_pool(harness, 1)
    [pooled] = harness.store.pool.list()
    ended = await harness.ended(await start(harness, max_concurrent=1))
    assert ended.counts == {RouteProgress.CONVERGED: 3}
    keys = {machine.key for each in route_ids if (machine := harness.route(each).machine)}
    assert pooled.key in keys
    assert images(harness, route_ids) == [NEW] * 3
    await until_pool_is_kept(harness)


async def test_a_soak_proves_each_route_at_its_own_release(harness, route_ids):
    publish_in(harness, NEW)
    await harness.swap(route_ids[0], "v0.0.74")
    ended = await harness.ended(await start(harness, soak="PT1S", waves=("100%",)))
    assert ended.counts == {RouteProgress.CONVERGED: 6}
    assert harness.current_tags(route_ids) == ["v0.0.74", *[RELEASE] * 5]


async def test_a_machine_that_is_made_of_the_image_meanwhile_is_not_replaced_again(harness):
    publish_in(harness, NEW)
    route_id = "r-new"
    await harness.provision(route_id)
    assert images(harness, [route_id]) == [NEW]
    with pytest.raises(WorkflowFailureError) as error:
        await replace(harness, route_id, image_name=NEW)
    assert fault_of(error.value.cause).kind == "machine-is-there"
    assert await harness.machine_keys() == [f"{route_id}-g1"]
    assert harness.route(route_id).status is RouteStatus.SERVING


async def test_it_is_none_of_the_releases_rollouts_that_an_undo_looks_for(harness, route_ids):
    publish_in(harness, NEW)
    rollout = await harness.start_rollout("v0.0.74", image_name=NEW, waves=("100%",))
    await harness.ended(rollout)
    await harness.swap(route_ids[0], "v0.0.74")
    assert harness.store.release_histories.before_rollout("v0.0.74") == {}


async def test_routes_on_the_image_or_of_another_architecture_are_left_out(harness, route_ids):
    publish_in(harness, NEW)
    await harness.ended(await start(harness, waves=("100%",)))
    late = await harness.serving_route()
    rollout = await start(harness, waves=("100%",))
    plan = await rollout.execute_update(RolloutRelease.planned)
    assert plan.waves == ((late,),)
    assert {each.route_id for each in plan.left_out} == set(route_ids)
    assert {each.reason for each in plan.left_out} == {f"its machine is made of {NEW} already"}
    assert (await harness.ended(rollout)).counts == {RouteProgress.CONVERGED: 1}


async def test_an_image_that_a_region_lacks_is_refused(harness, route_ids):
    publish_in(harness, NEW, "fake-east")
    summary = await refused(await start(harness))
    assert f"image {NEW} is not in fake/fake-west" in summary
    assert f"relight image publish {NEW} --missing" in summary
    assert harness.events(kind="rollout-opened") == []


async def test_an_image_without_what_the_release_depends_on_is_refused(harness, route_ids):
    publish_in(harness, NEW)
    harness.releases.depends[RELEASE] = "wireguard-tools"
    summary = await refused(await start(harness))
    assert f"image {NEW} lacks what {RELEASE} depends on: wireguard-tools" in summary


async def test_it_does_not_end_the_rollout_of_a_release(harness, route_ids):
    publish_in(harness, NEW)
    release = await harness.start_rollout("v0.0.74", waves=("2", "100%"), approval="canary")
    await harness.until_status(release, lambda now: now.phase is RolloutPhase.HOLDING)
    assert "the rollout of v0.0.74 over fleet is open" in await refused(await start(harness))
    await release.execute_update(RolloutRelease.approve, CONTROL)
    assert (await harness.ended(release)).phase is RolloutPhase.CONVERGED
    assert images(harness, route_ids) == [None] * 6


async def test_a_release_ends_the_rollout_of_an_image_and_the_rest_can_follow(harness, route_ids):
    publish_in(harness, NEW)
    rollout = await start(harness, waves=("2", "100%"), approval="canary")
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    release = await harness.ended(await harness.start_rollout("v0.0.74", waves=("100%",)))
    assert release.phase is RolloutPhase.CONVERGED
    assert (await harness.ended(rollout)).phase is RolloutPhase.SUPERSEDED
    assert sorted(images(harness, route_ids), key=str) == [None] * 4 + [NEW] * 2
    rest = await harness.ended(await start(harness, waves=("100%",)))
    assert rest.counts == {RouteProgress.CONVERGED: 4}
    assert images(harness, route_ids) == [NEW] * 6
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 6


CONTRACT = parse_contract(b"packages:\n  - nftables\n  - wireguard-tools\n", "contract.yaml")
LACKS_ONE = ["3\tpackage wireguard-tools\tnothing is known of it"]


@pytest.fixture
async def contracted(
    temporal_client: Client, tmp_path: Path, short_waits: None
) -> AsyncIterator[Harness]:
    """An installation whose images are held to a contract."""
    async with small_installation(temporal_client, tmp_path, contract=CONTRACT) as harness:
        yield harness


async def test_an_image_with_a_broken_contract_is_stopped_at_the_canary(contracted):
    harness, sha256 = contracted, CONTRACT.sha256
    route_ids = await six_routes(harness)
    publish_in(harness, OLD, contract_sha256=sha256)
    publish_in(harness, NEW, contract_sha256=sha256)
    for region in harness.cloud.REGIONS:
        harness.hosts.violated[f"id-of-{NEW}-in-{region}"] = LACKS_ONE
    rollout = await start(harness, waves=("1", "100%"))
    ended = await harness.ended(rollout)
    assert (ended.phase, ended.wave) == (RolloutPhase.STOPPED, 1)
    assert ended.counts == {RouteProgress.FAILED: 1, RouteProgress.UNTOUCHED: 5}
    [failed] = [each for each in ended.routes if each.fault is not None]
    assert failed.fault.kind == "image-contract-violated"
    assert f"image {NEW} does not hold its contract: contract.yaml:3" in failed.fault.summary
    assert "wireguard-tools is not installed" in failed.fault.summary
    machines = {each: harness.route(each).machine for each in route_ids}
    assert {each: m.key for each, m in machines.items() if m} == {
        each: f"{each}-g1" for each in route_ids
    }
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}
    await harness.until_idle()
    assert await harness.machine_keys() == [f"{each}-g1" for each in route_ids]
    # From now on new machines are made of the image from before.
    await harness.provision("r-new")
    assert images(harness, ["r-new"]) == [OLD]


async def test_a_machine_without_the_mark_of_an_image_is_none_of_it(contracted):
    harness = contracted
    publish_in(harness, NEW, contract_sha256=CONTRACT.sha256)
    harness.hosts.violated[f"id-of-{NEW}-in-fake-east"] = None
    with pytest.raises(WorkflowFailureError) as error:
        await harness.provision("r-1")
    fault = fault_of(error.value.cause)
    assert fault.kind == "image-contract-violated"
    assert "/usr/lib/relight/image-contract is absent" in fault.summary


async def test_a_pool_keeps_what_it_has_if_the_newer_image_breaks_its_contract(contracted):
    harness = contracted
    await keep_pool(harness, 1)
    publish_in(harness, NEW, contract_sha256=CONTRACT.sha256)
    harness.hosts.violated[f"id-of-{NEW}-in-fake-east"] = LACKS_ONE
    await keep_pool(harness)
    assert "pool-fake-fake-east-1" in [
        each.key for each in harness.store.pool.list() if each.status == "ready"
    ]


async def test_an_image_of_another_contract_is_not_held_to_this_one(contracted):
    harness = contracted
    publish_in(harness, NEW, contract_sha256="f" * 64)
    harness.hosts.violated[f"id-of-{NEW}-in-fake-east"] = LACKS_ONE
    await harness.provision("r-1")
    assert images(harness, ["r-1"]) == [NEW]
