"""Whatever goes wrong at a step of a publication: nothing is left, and the next one goes on."""

from contextlib import suppress
from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError

from activities.image.turns import Turns
from relight.domain.image.image import ImageStatus
from relight.domain.image.prune import PruneImagesInput
from relight.domain.image.publication import (
    PublicationOutcome,
    PublicationStatus,
    region_workflow_id,
)
from relight.providers.image_driver import Delivery
from tests.support.interference import REPEATED, Injection
from tests.workflows.harness import ORIGIN
from tests.workflows.image.cloud import Count, TaskCloud
from tests.workflows.image.driver import LIMITS
from tests.workflows.image.publishing import NAME, publishing
from workflows.failures import fault_of
from workflows.image.prune import PruneImages

OF_PROVIDER = ("check_image", "plan_provider", "take_turn", "stage_disk")
OF_REGION = ("begin_import", "await_import", "prove_image", "record_image_published")
AT_THE_END = ("unstage_disk", "end_turn")


@pytest.fixture
async def made(temporal_client, tmp_path, short_waits):
    """An installation whose cloud has one region."""
    cloud = TaskCloud(regions=("east",), lasts=timedelta(milliseconds=20))
    limits = LIMITS._replace(stagger=timedelta(0))
    async with publishing(temporal_client, tmp_path, cloud, limits) as made:
        yield made


@pytest.mark.parametrize("injection", Injection)
@pytest.mark.parametrize("step", [*OF_PROVIDER, *OF_REGION, *AT_THE_END])
async def test_nothing_is_left_and_the_next_publication_goes_on(made, step, injection):
    made.harness.interference.inject(injection, step)
    outcome = None
    with suppress(WorkflowFailureError):
        outcome = (await made.publish()).outcome
    if injection in REPEATED or step in OF_REGION:
        # A region whose first attempt fails or is cancelled has a second one.
        assert outcome is PublicationOutcome.PUBLISHED
    there = made.cloud.everything()
    assert {each.status for each in there} <= {"available"}
    assert len(there) <= 1
    if (step, injection) != ("unstage_disk", Injection.FAILS_BEFORE):
        assert made.cloud.objects() == []
    assert made.harness.interference.pending == []
    assert (await made.publish()).outcome is PublicationOutcome.PUBLISHED
    assert made.cloud.objects() == []
    [row] = made.recorded().values()
    assert row.status is PublicationStatus.PUBLISHED
    [image] = made.cloud.everything()
    assert row.image_id == image.image_id
    assert made.cloud.counts()[Count.IMPORTS] <= 2


async def test_a_cancellation_withdraws_what_is_under_way_and_leaves_what_is_published(
    temporal_client, tmp_path, short_waits
):
    # On the server that skips time, a workflow task with a cancellation never ends.
    cloud = TaskCloud(
        regions=("done", "east", "west"),
        lasts=timedelta(hours=1),
        longer={"done": timedelta(milliseconds=20)},
    )
    limits = LIMITS._replace(stagger=timedelta(0))
    async with publishing(temporal_client, tmp_path, cloud, limits) as made:
        publication = await made.start()

        def are_under_way() -> bool:
            rows = made.recorded().values()
            return {each.status for each in rows if each.image_id} == {"published", "importing"}

        await made.harness.until(are_under_way)
        await publication.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await publication.result()
        assert fault_of(failed.value.cause).kind == "cancelled"
        assert {(each.region, each.status) for each in cloud.everything()} == {
            ("done", ImageStatus.AVAILABLE)
        }
        assert cloud.objects() == []
        rows = made.recorded()
        assert {region: each.status for region, each in rows.items()} == {
            "done": PublicationStatus.PUBLISHED,
            "east": PublicationStatus.FAILED,
            "west": PublicationStatus.FAILED,
        }
        assert "cancelled" in rows["east"].reason


async def test_a_cancellation_leaves_every_provider_before_it_ends(
    temporal_client, tmp_path, short_waits
):
    cloud = TaskCloud(regions=("east",), lasts=timedelta(hours=1))
    async with publishing(temporal_client, tmp_path, cloud, LIMITS) as made:
        made.add(TaskCloud("another", regions=("east",)), LIMITS._replace(delivery=Delivery.UPLOAD))
        # There it only waits for what a lost publication has left, so it leaves at once.
        lost = await made.harness.client.start_workflow(
            PruneImages.run,
            PruneImagesInput(origin=ORIGIN),
            id=region_workflow_id(NAME, "another", "east"),
            task_queue="nobody-works-here",
        )
        publication = await made.start(provider=None)
        await made.harness.until(lambda: bool(cloud.everything()))
        await publication.cancel()
        with pytest.raises(WorkflowFailureError):
            await publication.result()
        assert (cloud.everything(), cloud.objects()) == ([], [])
        turns = Turns(made.harness.store.permits)
        assert await turns.take("gcore", "base-9-amd64")
        assert await turns.take("another", "base-9-amd64")
        await lost.terminate()


async def test_a_provider_that_cannot_be_left_well_loses_no_result(made):
    made.harness.interference.inject(Injection.FAILS_BEFORE, "stage_disk")
    made.harness.interference.inject(Injection.FAILS_BEFORE, "record_unbegun")
    result = await made.publish()
    assert [each.fault.summary for each in result.failed] == ["injected: it failed"]
    assert await Turns(made.harness.store.permits).take("gcore", "base-9-amd64")
