"""Which image new machines are made of: of the region, of the architecture, fit for the release."""

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.fault.table import fault
from relight.domain.machine import MachineImage
from relight.store.images import Place
from tests.store.images import publish, ref
from tests.workflows.harness import Harness
from tests.workflows.pools import keep_pool
from tests.workflows.replacing import replace
from workflows.failures import fault_of

OLD, NEW = "base-1-amd64", "base-2-amd64"


def publish_in(harness: Harness, name: str, *regions: str, **manifest: object) -> None:
    for region in regions or harness.cloud.REGIONS:
        publish(harness.store, Place(harness.cloud.name, region), name, **manifest)


def image_of(harness: Harness, key: str) -> tuple[str | None, str | None]:
    record = harness.store.machines.get(key)
    assert record is not None
    return record.image_name, record.image_id


async def test_a_machine_is_made_of_the_newest_image_of_its_region(harness: Harness) -> None:
    publish_in(harness, OLD)
    publish_in(harness, NEW, "fake-east")
    await harness.provision("r-1")
    await harness.provision("r-2", region="fake-west")
    assert image_of(harness, "r-1-g1") == (NEW, f"id-of-{NEW}-in-fake-east")
    assert image_of(harness, "r-2-g1") == (OLD, f"id-of-{OLD}-in-fake-west")


async def test_without_a_published_image_the_settings_of_the_location_decide(
    harness: Harness,
) -> None:
    await harness.provision("r-1")
    assert image_of(harness, "r-1-g1") == (None, None)


async def test_a_pinned_image_is_taken_for_provisioning_replacements_and_the_pool(
    harness: Harness,
) -> None:
    publish_in(harness, OLD)
    publish_in(harness, NEW)
    harness.store.images.pin(OLD, None, harness.operation(), pinned=True)
    await harness.provision("r-1")
    await replace(harness, "r-1")
    await keep_pool(harness, 1)
    [pooled] = harness.store.pool.list()
    assert pooled.image_name == OLD
    assert [image_of(harness, key)[0] for key in ("r-1-g1", "r-1-g2")] == [OLD, OLD]


async def test_where_the_pinned_image_is_missing_no_machine_is_made(harness: Harness) -> None:
    publish_in(harness, OLD)
    publish_in(harness, NEW)
    harness.store.images.pin(OLD, None, harness.operation(), pinned=True)
    place = Place(harness.cloud.name, "fake-east")
    lost = fault("image-failed", "its provider has it no more")
    harness.store.images.fail(OLD, place, lost, harness.operation(), is_gone=True)
    with pytest.raises(WorkflowFailureError) as refused:
        await harness.provision("r-1")
    summary = fault_of(refused.value.cause).summary
    assert f"fake/fake-east has no image {OLD}, which is pinned there" in summary
    assert f"relight image publish {OLD} --missing" in summary
    assert f"relight image unpin {OLD}" in summary
    assert harness.cloud.created == []


async def test_no_machine_is_made_of_an_image_that_was_pruned_since_it_was_chosen(
    harness: Harness,
) -> None:
    publish_in(harness, OLD)
    take, place = harness.store.image_use.take, Place(harness.cloud.name, "fake-east")

    def prune_first(machine_key: str, image: MachineImage) -> None:
        old = ref(OLD, place)
        assert harness.store.image_use.begin_removal(old, gone=False) is None
        take(machine_key, image)

    harness.store.image_use.take = prune_first  # type: ignore[method-assign]
    with pytest.raises(WorkflowFailureError) as refused:
        await harness.provision("r-1")
    fault = fault_of(refused.value.cause)
    assert fault.kind == "unknown-image"
    assert harness.cloud.created == []


async def test_a_pool_is_renewed_by_a_newer_image(harness: Harness) -> None:
    await keep_pool(harness, 2)
    publish_in(harness, NEW)
    await keep_pool(harness)
    pool = harness.store.pool.list()
    assert [each.image_name for each in pool] == [NEW, NEW]
    assert len(harness.destroyed()) == 2


async def test_an_image_without_what_the_release_depends_on_is_refused(harness: Harness) -> None:
    harness.releases.depends["v0.0.73"] = "nftables, wireguard-tools"
    publish_in(harness, NEW)
    with pytest.raises(WorkflowFailureError) as refused:
        await harness.provision("r-1")
    fault = fault_of(refused.value.cause)
    assert (fault.kind, fault.refused) == ("image-unfit", True)
    assert f"image {NEW} lacks what v0.0.73 depends on: wireguard-tools" in fault.summary
    assert harness.store.routes.get("r-1") is None
    assert harness.cloud.created == []


async def test_what_the_source_of_the_release_offers_need_not_be_in_the_image(
    harness: Harness,
) -> None:
    harness.releases.depends["v0.0.73"] = "nftables, lantern-tools (= 0.0.73)"
    harness.releases.offered = frozenset({"lantern-tools"})
    publish_in(harness, NEW)
    await harness.provision("r-1")
    assert image_of(harness, "r-1-g1")[0] == NEW
