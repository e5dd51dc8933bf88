"""Whatever goes wrong at a step of a publication: nothing is left, and the next one goes on."""

from contextlib import suppress

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.image_publication import PublicationOutcome, PublicationStatus
from tests.support.interference import REPEATED, Injection
from tests.workflows.image.cloud import Count, TaskCloud
from tests.workflows.image.publishing import publishing

OF_PROVIDER = ("check_image", "plan_provider", "take_turn", "stage_disk")
OF_REGION = ("begin_import", "await_import", "prove_image", "record_image_published")
AT_THE_END = ("unstage_disk", "end_turn")


@pytest.fixture
async def made(skipping_client, tmp_path):
    """An installation whose cloud has one region."""
    async with publishing(skipping_client, tmp_path, TaskCloud(regions=("east",))) as made:
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
