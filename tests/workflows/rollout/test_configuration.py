"""A configuration is rolled out like a package: in waves, proven, rolled back, undone."""

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.configuration import Configuration, ConfigurationFile
from relight.domain.names import with_revision
from relight.domain.rollout.rollout import RolloutPhase, RouteProgress
from tests.workflows.harness import Harness
from workflows.failures import fault_of

TAG = "v0.0.73"


def configuration(level: str) -> Configuration:
    file = ConfigurationFile(
        path="/etc/lantern-box/config.json",
        template="{{ plan.route_id }} {{ plan.track }} {{ values.level }} {{ secrets.TOKEN }}",
    )
    return Configuration(files=(file,), values={"level": level})


def record(harness: Harness, level: str) -> str:
    """Record a configuration; return the release with it."""
    made = configuration(level)
    harness.store.configurations.add(made, harness.operation())
    return with_revision(TAG, made.revision)


@pytest.fixture
def secrets(harness: Harness) -> dict[str, str]:
    assert isinstance(harness.parts.secrets, dict)
    harness.parts.secrets["TOKEN"] = "squirrel"
    return harness.parts.secrets


@pytest.fixture
async def first(harness: Harness, secrets: dict[str, str], route_ids: list[str]) -> str:
    """The release with a first configuration, to which all routes were brought."""
    tag = record(harness, "calm")
    status = await harness.ended(await harness.start_rollout(tag, waves=("2", "100%")))
    assert status.phase is RolloutPhase.CONVERGED
    return tag


def digests(harness: Harness, route_ids: list[str]) -> list[str]:
    return [harness.hosts.of(each).configuration for each in route_ids]


async def test_it_converges_in_waves_and_becomes_the_default_with_its_release(
    harness, first, route_ids
):
    assert harness.current_tags(route_ids) == [first] * 6
    assert harness.store.fleet_settings.get("default_release_tag") == first
    found = digests(harness, route_ids)
    assert len(set(found)) == 6  # each route's own
    for route_id, digest in zip(route_ids, found, strict=True):
        assert harness.hosts.of(route_id).installs == ["0.0.73"]
        [*_, proven] = harness.events(route_id, kind="route-proven")
        assert proven.detail["proof"]["configuration"] == digest
        assert "squirrel" not in str([event.detail for event in harness.events(route_id)])


async def test_a_refused_one_stops_the_rollout_and_its_routes_keep_theirs(
    harness, first, route_ids
):
    before = digests(harness, route_ids)
    for each in route_ids:
        harness.hosts.of(each).refuses = True
    tag = record(harness, "loud")
    status = await harness.ended(await harness.start_rollout(tag, waves=("2", "100%")))
    assert status.phase is RolloutPhase.STOPPED
    assert "configuration-refused" in status.detail
    assert status.count(RouteProgress.UNTOUCHED) == 4
    assert harness.current_tags(route_ids) == [first] * 6
    assert digests(harness, route_ids) == before
    assert harness.store.fleet_settings.get("default_release_tag") == first


async def test_an_undo_brings_package_and_configuration_back(harness, first, route_ids):
    before = digests(harness, route_ids)
    tag = with_revision("v0.0.74", record(harness, "loud").partition("@")[2])
    status = await harness.ended(await harness.start_rollout(tag))
    assert (status.phase, harness.current_tags(route_ids)) == (RolloutPhase.CONVERGED, [tag] * 6)
    assert not set(digests(harness, route_ids)) & set(before)
    await harness.ended(await harness.start_rollout(tag, undo=True))
    assert harness.current_tags(route_ids) == [first] * 6
    assert digests(harness, route_ids) == before
    assert harness.hosts.of(route_ids[0]).installs == ["0.0.73", "0.0.74", "0.0.73"]
    assert harness.store.fleet_settings.get("default_release_tag") == first


async def test_a_release_without_one_brings_back_the_hosts_own_files(harness, first, route_ids):
    status = await harness.ended(await harness.start_rollout("v0.0.74"))
    assert status.phase is RolloutPhase.CONVERGED
    assert digests(harness, route_ids) == [""] * 6


async def test_a_new_route_starts_its_service_once_with_its_configuration(harness, first):
    route_id = harness.new_route_id()
    provisioned = await harness.provision(route_id)
    host = harness.hosts.of(route_id)
    assert (provisioned.release_tag, provisioned.proof.configuration) == (
        first,
        host.configuration,
    )
    assert host.configuration
    assert host.journal == ["lantern-box: version 0.0.73 starts"]


async def test_an_unknown_configuration_is_refused_before_anything_changes(
    harness, first, route_ids
):
    before = digests(harness, route_ids)
    rollout = await harness.start_rollout(f"{TAG}@{'0' * 12}")
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    assert fault_of(failed.value.cause).kind == "release-unknown"
    assert digests(harness, route_ids) == before


async def test_one_that_this_worker_cannot_render_is_refused_before_anything_changes(
    harness, first, route_ids
):
    before = digests(harness, route_ids)
    tag = record(harness, "loud")
    harness.parts.secrets.clear()
    rollout = await harness.start_rollout(tag)
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    fault = fault_of(failed.value.cause)
    assert fault.kind == "preflight-failed"
    assert "etc/lantern-box/config.json.j2" in fault.summary
    assert "TOKEN" in fault.summary
    assert digests(harness, route_ids) == before
