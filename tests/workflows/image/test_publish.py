"""An image is published to every region, or each region without it has its reason."""

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.image.image import ImageAtProvider, ImageStatus
from relight.domain.image.publication import PublicationOutcome, PublicationStatus
from relight.providers.image_driver import Delivery
from tests.support.interference import Injection
from tests.workflows.image.cloud import Count, TaskCloud
from tests.workflows.image.driver import LIMITS
from tests.workflows.image.publishing import NAME, Publishing, publishing, write_image
from workflows.failures import fault_of

REGIONS = tuple(f"region-{number}" for number in range(8))


@pytest.fixture
def gcore(skipping_client, tmp_path):
    """Return a function that runs an installation with a cloud of these options."""

    @asynccontextmanager
    async def run(limits=LIMITS, **options):
        cloud = TaskCloud(**{"regions": REGIONS, **options})
        async with publishing(skipping_client, tmp_path, cloud, limits) as made:
            yield made

    return run


def statuses(made: Publishing) -> set[PublicationStatus]:
    return {each.status for each in made.recorded().values()}


async def refused(made: Publishing, **options: Any) -> str:
    """Return the kind of the fault with which a publication fails, and its text."""
    with pytest.raises(WorkflowFailureError) as failed:
        await (await made.start(**options)).result()
    fault = fault_of(failed.value.cause)
    return f"{fault.kind}: {fault.summary}"


async def test_every_region_gets_the_image_and_no_disk_is_left_in_storage(gcore):
    async with gcore() as made:
        result = await made.publish()
        assert (result.outcome, len(result.regions)) == (PublicationOutcome.PUBLISHED, 8)
        assert result.text == f"{NAME}: 8 of 8 regions have it"
        assert {*made.recorded()} == {*REGIONS}
        assert statuses(made) == {PublicationStatus.PUBLISHED}
        ids = {each.image_id for each in made.recorded().values()}
        assert ids == {each.image_id for each in made.cloud.everything()}
        counts = made.cloud.counts()
        assert (counts[Count.IMPORTS], counts[Count.REAPED]) == (8, 0)
        assert counts[Count.MOST_ORDERED] <= 6
        assert made.cloud.objects() == []


async def test_a_region_that_fails_twice_is_named_and_missing_takes_it_up(gcore):
    async with gcore(failing=["region-3"]) as made:
        result = await made.publish()
        assert result.outcome is PublicationOutcome.PARTIAL
        [failed] = result.failed
        assert (failed.place, failed.attempts, failed.fault.kind) == (
            "gcore/region-3",
            2,
            "image-failed",
        )
        row = made.recorded()["region-3"]
        assert (row.status, row.image_id) == (PublicationStatus.FAILED, None)
        assert '"state": "ERROR"' in row.answer
        assert made.cloud.counts()[Count.IMPORTS] == 9
        made.cloud.mend()
        again = await made.publish(missing=True)
        assert [each.place for each in again.regions] == ["gcore/region-3"]
        assert again.outcome is PublicationOutcome.PUBLISHED
        assert statuses(made) == {PublicationStatus.PUBLISHED}
        assert made.cloud.counts()[Count.IMPORTS] == 10
        assert (await made.publish(missing=True)).regions == ()


async def test_an_image_that_others_may_use_is_deleted_and_not_tried_again(gcore):
    async with gcore(public=["region-3"]) as made:
        [failed] = (await made.publish()).failed
        assert (failed.fault.kind, failed.attempts) == ("image-exposed", 1)
        assert {each.region for each in made.cloud.everything()} == {*REGIONS} - {"region-3"}
        assert made.recorded()["region-3"].status is PublicationStatus.FAILED


async def test_what_does_not_begin_is_withdrawn_and_ordered_again(gcore):
    # Another user of the account has all places but one: of two orders, one has to wait.
    limits = LIMITS._replace(max_in_flight=2, start_within=timedelta(minutes=5))
    long = timedelta(minutes=9)
    async with gcore(limits, regions=("east", "west"), slots=1, lasts=long) as made:
        result = await made.publish()
        assert result.outcome is PublicationOutcome.PUBLISHED
        assert {each.region: each.attempts for each in result.regions} == {"east": 1, "west": 2}
        assert made.cloud.counts()[Count.REAPED] == 0
        assert len(made.cloud.everything()) == 2


async def test_an_import_that_takes_longer_than_its_budget_is_withdrawn(gcore):
    limits = LIMITS._replace(finish_within=timedelta(minutes=30))
    async with gcore(limits, longer={"region-3": timedelta(hours=1)}) as made:
        [failed] = (await made.publish(max_attempts=1)).failed
        assert (failed.place, failed.fault.kind) == ("gcore/region-3", "image-late")
        assert len(made.cloud.everything()) == 7


async def test_an_image_of_another_fleet_is_left_alone(gcore):
    async with gcore(regions=("east",)) as made:
        foreign = ImageAtProvider(
            name=NAME,
            provider="gcore",
            region="east",
            image_id="foreign",
            status=ImageStatus.AVAILABLE,
            visibility="private",
            owner="another",
        )
        made.cloud.add(foreign)
        [failed] = (await made.publish()).failed
        assert (failed.fault.kind, failed.attempts) == ("machine-conflict", 1)
        assert made.cloud.everything() == [foreign]


async def test_two_images_are_published_one_after_the_other(gcore):
    async with gcore() as made:
        write_image(made.folder, "base-2-amd64")
        first, second = await made.start(), await made.start("base-2-amd64")
        assert (await first.result()).outcome == (await second.result()).outcome == "published"
        counts = made.cloud.counts()
        assert (counts[Count.IMPORTS], counts[Count.REAPED]) == (16, 0)
        assert counts[Count.MOST_ORDERED] <= 6


async def test_a_provider_that_copies_imports_once_and_copies_the_rest(gcore):
    limits = LIMITS._replace(copies=True, delivery=Delivery.UPLOAD)
    async with gcore(limits) as made:
        copies = []
        driver = made.harness.drivers["gcore"]
        copy = driver.copy_image

        async def noted(spec, source):
            copies.append((source.region, spec.region))
            return await copy(spec, source)

        driver.copy_image = noted
        assert (await made.publish()).outcome is PublicationOutcome.PUBLISHED
        [source] = {source for source, _ in copies}
        assert {region for _, region in copies} == {*REGIONS} - {source}


async def test_what_is_gone_at_its_provider_is_no_source_for_the_others(gcore):
    limits = LIMITS._replace(copies=True, delivery=Delivery.UPLOAD, first="region-0")
    async with gcore(limits) as made:
        await made.publish(region="region-0")
        [lost] = made.cloud.everything()
        made.cloud.lose(lost.image_id)
        result = await made.publish(missing=True)
        assert result.outcome is PublicationOutcome.PUBLISHED
        assert {each.region for each in made.cloud.everything()} == {*REGIONS}


async def test_all_providers_are_published_to_and_one_that_fails_holds_no_other(gcore):
    async with gcore() as made:
        made.add(TaskCloud("linode", regions=("de-1",)), LIMITS._replace(delivery=Delivery.UPLOAD))
        made.add(TaskCloud("oci", regions=("fra-1",)))
        result = await made.publish(provider=None)
        named = [each for each in result.regions if each.provider in {"linode", "oci"}]
        assert [(each.place, each.fault and each.fault.kind) for each in named] == [
            ("linode/de-1", None),
            ("oci", "image-unstaged"),
        ]
        assert len([each for each in result.regions if each.provider == "gcore"]) == 8


# ---------------------------------------------------------------- what is refused


async def test_an_image_without_a_declared_release_is_refused(gcore):
    async with gcore() as made:
        made.harness.store.fleet_settings.unset("default_release_tag", made.harness.operation())
        assert (await refused(made)).startswith("image-unfit: ")
        assert made.cloud.everything() == []


async def test_a_disk_that_is_not_its_builds_is_refused(gcore):
    async with gcore() as made:
        disk = made.folder / f"{NAME}.qcow2"
        content = disk.read_bytes()
        disk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert "its SHA-256 is" in await refused(made)
        disk.write_bytes(content[:-1])
        assert "its manifest says" in await refused(made)
        disk.unlink()
        assert "no such file" in await refused(made)
        assert "no such file" in await refused(made, name="base-9-amd64")
        assert made.cloud.everything() == []


async def test_another_build_under_the_same_name_is_refused(gcore):
    async with gcore() as made:
        await made.publish()
        manifest = write_image(made.folder)
        changed = manifest.model_copy(update={"identity": "9" * 64})
        (made.folder / f"{NAME}.json").write_text(changed.model_dump_json())
        assert (await refused(made)).startswith("image-conflict: ")


async def test_a_place_that_there_is_not_is_refused(gcore):
    async with gcore() as made:
        assert (await refused(made, provider="nowhere")).startswith("unknown-location: ")
        assert "it has no such region" in await refused(made, region="mars")
        assert made.recorded() == {}


async def test_where_one_region_alone_imports_the_others_follow_it_or_fail_with_it(gcore):
    limits = LIMITS._replace(copies=True, first="region-5")
    async with gcore(limits, failing=["region-5"]) as made:
        failed = (await made.publish(region="region-2")).failed
        assert {(each.region, each.attempts) for each in failed} == {
            ("region-2", 0),
            ("region-5", 2),
        }
        assert {each.fault.kind for each in failed} == {"image-failed"}
        assert statuses(made) == {PublicationStatus.FAILED}
        made.cloud.mend()
        assert (await made.publish(region="region-2")).outcome is PublicationOutcome.PUBLISHED
        assert {*made.recorded()} == {"region-2", "region-5"}


async def test_what_a_storage_that_fails_keeps_from_being_begun_has_that_reason(gcore):
    async with gcore() as made:
        made.harness.interference.inject(Injection.FAILS_BEFORE, "stage_disk")
        result = await made.publish()
        assert result.outcome is PublicationOutcome.FAILED
        assert {(each.attempts, each.fault.summary) for each in result.regions} == {
            (0, "injected: it failed")
        }
        assert statuses(made) == {PublicationStatus.FAILED}
        assert (await made.publish(missing=True)).outcome is PublicationOutcome.PUBLISHED
