"""`relight image publish`: which regions have the image, and why the others do not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities import policies
from relight.domain.image.publication import image_workflow_id
from starter.local.temporal import EmbeddedTemporal
from tests.starter.in_process import InProcess
from tests.starter.installation import Installation, operated_installation
from tests.support.command_line import Ended
from tests.workflows.image.cloud import TaskCloud
from tests.workflows.image.driver import LIMITS, TaskDriver, TaskStaging
from tests.workflows.image.publishing import NAME, write_image

LOOK_EVERY = timedelta(milliseconds=50)


@dataclass
class Operated:
    """An installation with one provider of images, `gcore`."""

    installation: Installation
    cloud: TaskCloud

    @property
    def relight(self) -> InProcess:
        return self.installation.relight

    async def publish(self, *options: str, name: str = NAME) -> Ended:
        return await self.relight("image", "publish", name, "--provider", "gcore", *options)


@pytest.fixture
async def operated(
    temporal: EmbeddedTemporal,
    temporal_client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Operated]:
    for name in ("initial_interval", "maximum_interval"):
        monkeypatch.setattr(policies.IMAGE_IMPORT.retry, name, LOOK_EVERY)
    cloud = TaskCloud(lasts=timedelta(milliseconds=20), failing=["west"])
    images, stagings = tmp_path / "images", dict[str, TaskStaging]()
    write_image(images)
    made = operated_installation(
        temporal_client, temporal.address, tmp_path, image_folder=images, stagings=stagings
    )
    async with made as installation:
        driver = TaskDriver(cloud, LIMITS._replace(stagger=timedelta(0)))
        installation.harness.drivers["gcore"] = driver
        stagings["gcore"] = TaskStaging(driver)
        yield Operated(installation, cloud)


async def test_a_partial_publication_ends_with_1_and_missing_takes_up_the_rest(operated):
    partial = await operated.publish()
    assert partial.code == 1
    assert "image-failed" in partial.out
    assert '"state": "ERROR"' in partial.out
    assert f"{NAME}: 1 of 2 regions have it; without it: gcore/west" in partial.said
    assert f"`relight image publish {NAME} --missing` takes up the rest" in partial.said
    operated.cloud.mend()
    rest = await operated.publish("--missing", "--json")
    assert (rest.code, rest.json["outcome"]) == (0, "published")
    [region] = rest.json["regions"]
    assert (region["region"], region["fault"]) == ("west", None)
    again = await operated.publish("--missing")
    assert (again.code, again.out) == (0, f"{NAME}: no region lacks it\n")
    everywhere = await operated.publish()
    assert everywhere.code == 0
    assert f"{NAME}: 2 of 2 regions have it" in everywhere.out


async def test_a_partial_publication_as_json_has_its_regions_and_its_outcome(operated):
    partial = await operated.publish("--json")
    assert (partial.code, partial.json["outcome"]) == (1, "partial")
    faults = {each["region"]: each["fault"] for each in partial.json["regions"]}
    assert faults["east"] is None
    assert faults["west"]["kind"] == "image-failed"


async def test_it_is_only_started_and_then_followed(operated):
    operated.cloud.mend()
    started = await operated.publish("--no-wait", "--json")
    assert started.json == {"workflow_id": image_workflow_id(NAME), "started": True}
    followed = await operated.publish()
    assert followed.code == 0
    assert "2 of 2 regions have it" in followed.out


async def test_a_publication_is_ended_and_what_has_the_image_keeps_it(operated):
    operated.cloud.mend()
    operated.cloud.last("west", timedelta(hours=1))
    await operated.publish("--no-wait")
    harness = operated.installation.harness

    def of_regions() -> dict[str, str]:
        return {each.region: str(each.status) for each in harness.store.images.list(name=NAME)}

    await harness.until(lambda: of_regions() == {"east": "published", "west": "importing"})
    ended = await operated.relight("image", "cancel", NAME, "--reason", "a wrong build", "--json")
    assert (ended.code, ended.json) == (
        0,
        {"name": NAME, "ended": "cancelled", "regions": ["gcore/east"]},
    )
    assert of_regions() == {"east": "published", "west": "failed"}
    assert [each.region for each in operated.cloud.everything()] == ["east"]
    assert operated.cloud.objects() == []
    [event] = harness.events(kind="operation-cancelled")
    assert (event.reason, event.detail["name"]) == ("a wrong build", NAME)
    await operated.installation.refuses(3, ("image", "cancel", NAME), "no publication of")


async def test_without_a_declared_release_it_is_refused(operated):
    harness = operated.installation.harness
    harness.store.fleet_settings.unset("default_release_tag", harness.operation())
    refused = await operated.publish()
    assert (refused.code, refused.out) == (3, "")
    assert "would serve nothing" in refused.said
    assert operated.cloud.everything() == []


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((NAME, "--provider", "nowhere"), 2, "it is not configured here"),
        ((NAME, "--provider", "gcore", "--region", "mars"), 2, "it has no such region"),
        ((NAME, "--region", "east"), 2, "name it with --provider"),
        (("Base_1", "--provider", "gcore"), 2, "is not an image's name"),
        (("base-9-amd64", "--provider", "gcore"), 3, "no such file"),
        ((NAME, "--no-wait", "--timeout", "3s"), 2, "--timeout is for a command that waits"),
    ],
)
async def test_what_cannot_be_published_is_refused(operated, words, code, text):
    await operated.installation.refuses(code, ("image", "publish", *words), text)
