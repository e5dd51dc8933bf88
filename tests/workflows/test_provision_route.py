"""ProvisionRoute: whatever befalls it, no machine is orphaned and no route is half recorded."""

import pytest
import yaml
from pydantic import SecretStr
from temporalio.client import WorkflowFailureError

from devkit.chaos.troubles import (
    AT_THE_PROVIDER,
    Call,
    Trouble,
)
from relight.domain.machine import MachineStatus
from relight.domain.route import RouteStatus
from relight.providers.driver import MachineSpec
from tests.support.interference import Injection
from tests.support.written_files import content
from tests.workflows.harness import Harness
from workflows.failures import fault_of

STEPS = (
    "desired_release",
    "describe_region",
    "resolve_release",
    "open_route",
    "render_cloud_init",
    "create_machine",
    "await_machine",
    "record_machine",
    "await_first_boot",
    "prove_release",
    "record_proof",
)


async def assert_serves(harness: Harness, route_id: str) -> None:
    """The route serves, proven, on the only machine that was made for it."""
    route = harness.route(route_id)
    assert route.status is RouteStatus.SERVING
    assert route.current_release_tag == route.target_release_tag == "v0.0.73"
    assert route.machine is not None
    [machine] = await harness.machines_of(route_id)
    assert machine.ref == route.machine.ref
    assert machine.status is MachineStatus.RUNNING
    assert len(harness.events(route_id, "route-proven")) == 1


async def assert_nothing_is_left(harness: Harness, route_id: str) -> None:
    """No machine at the provider, none on record as alive, no route that looks half made."""
    assert await harness.machines_of(route_id) == []
    route = harness.store.routes.get(route_id)
    if route is not None:
        assert route.status is RouteStatus.FAILED
        assert route.machine is None
        assert route.current_release_tag is None
    for machine in harness.store.machines.list(route_id):
        assert machine.status == "destroyed"
    [event] = harness.events(route_id, "fault-recorded")
    assert event.fault_kind is not None


async def test_a_route_comes_up_proven_in_the_order_of_its_steps(harness):
    route_id = harness.new_route_id()
    provisioned = await harness.provision(route_id)
    assert provisioned.release_tag == "v0.0.73"
    assert provisioned.machine.key == f"{route_id}-g1"
    assert tuple(harness.interference.ran) == STEPS
    await assert_serves(harness, route_id)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("injection", [Injection.REPLY_LOST, Injection.RUN_TWICE])
async def test_a_step_that_runs_again_changes_nothing(harness, boundaries, injection, step):
    route_id = harness.new_route_id()
    harness.interference.bring(injection, step, harness.client)
    await harness.provision(route_id)
    await assert_serves(harness, route_id)
    assert [key for key in harness.cloud.created if key.startswith(route_id)] == [f"{route_id}-g1"]
    boundaries.ended("ProvisionRoute", step, injection, "it serves")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "injection",
    [
        Injection.CANCELLED_BEFORE,
        Injection.CANCELLED_AFTER,
        Injection.FAILS_BEFORE,
        Injection.FAILS_AFTER,
    ],
)
async def test_a_step_that_is_cut_short_leaves_nothing(harness, boundaries, injection, step):
    route_id = harness.new_route_id()
    harness.interference.bring(injection, step, harness.client)
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id)
    kind = fault_of(failed.value.cause).kind
    assert kind == ("cancelled" if injection.startswith("cancelled") else "controller-bug")
    await assert_nothing_is_left(harness, route_id)
    boundaries.ended("ProvisionRoute", step, injection, "nothing is left")


@pytest.mark.parametrize(
    ("call", "trouble"), [each for each in AT_THE_PROVIDER if each[0] is not Call.DESTROY]
)
async def test_what_a_provider_does_to_a_call_makes_no_second_machine(
    harness, boundaries, call, trouble
):
    route_id = harness.new_route_id()
    harness.cloud.troubles.bring(trouble, call)
    await harness.provision(route_id)
    assert harness.cloud.troubles.still_due == 0
    await assert_serves(harness, route_id)
    assert [key for key in harness.cloud.created if key.startswith(route_id)] == [f"{route_id}-g1"]
    boundaries.ended("ProvisionRoute", f"provider: {call}", trouble, "it serves")


@pytest.mark.usefixtures("forgetful_providers")
@pytest.mark.parametrize("trouble", list(Trouble))
async def test_what_a_provider_does_to_the_destruction_of_a_failed_one_leaves_nothing(
    harness, boundaries, trouble
):
    route_id = harness.new_route_id()
    harness.interference.bring(Injection.FAILS_AFTER, "create_machine", harness.client)
    harness.cloud.troubles.bring(trouble, Call.DESTROY)
    with pytest.raises(WorkflowFailureError):
        await harness.provision(route_id)
    assert harness.cloud.troubles.still_due == 0
    await assert_nothing_is_left(harness, route_id)
    boundaries.ended("ProvisionRoute", f"provider: {Call.DESTROY}", trouble, "nothing is left")


async def test_a_machine_of_somebody_else_under_the_routes_key_is_neither_taken_nor_destroyed(
    harness,
):
    route_id = harness.new_route_id()
    theirs = MachineSpec(
        region="fake-east", user_data=SecretStr(""), owner="somebody-else", generation=1
    )
    machine = await harness.cloud.ensure(f"{route_id}-g1", theirs)
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("machine-conflict", False)
    assert "somebody-else" in fault.summary
    assert Call.DESTROY not in harness.cloud.troubles.asked
    [found] = await harness.machines_of(route_id)
    assert (found.ref, found.status) == (machine.ref, MachineStatus.RUNNING)
    # Whether a machine of ours has the key is not known: it stays on record.
    assert [m.status for m in harness.store.machines.list(route_id)] == ["planned"]
    assert harness.route(route_id).status is RouteStatus.FAILED


async def test_a_failed_route_is_provisioned_again_as_its_next_generation(harness):
    route_id = harness.new_route_id()
    harness.interference.bring(Injection.FAILS_AFTER, "create_machine", harness.client)
    with pytest.raises(WorkflowFailureError):
        await harness.provision(route_id)
    provisioned = await harness.provision(route_id)
    assert provisioned.machine.key == f"{route_id}-g2"
    assert [m.status for m in harness.store.machines.list(route_id)] == ["destroyed", "running"]


async def test_without_a_declared_release_it_refuses_and_creates_nothing(harness):
    harness.store.settings.unset("default_release_tag", harness.operation())
    route_id = harness.new_route_id()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("no-desired-release", True)
    assert "track stable" in fault.summary
    assert harness.cloud.created == []
    assert harness.store.routes.get(route_id) is None


async def test_a_tracks_override_decides_what_is_installed(harness):
    harness.store.tracks.set("pinned", "v0.0.70", harness.operation())
    provisioned = await harness.provision(harness.new_route_id(), track="pinned")
    assert provisioned.proof.version == "0.0.70"


async def test_a_release_with_an_address_is_fetched_from_there_at_the_first_boot(harness):
    harness.releases.add_with_address("v0.0.78", "amd64")
    harness.store.tracks.set("fetched", "v0.0.78", harness.operation())
    provisioned = await harness.provision(harness.new_route_id(), track="fetched")
    assert provisioned.proof.version == "0.0.78"
    user_data = yaml.safe_load(harness.cloud.user_data[provisioned.machine.key])
    script = content(user_data["write_files"][-1])
    assert "https://files.example/lantern-box_0.0.78_amd64.deb" in script


@pytest.mark.parametrize(
    ("where", "kind", "named"),
    [
        ({"track": "nowhere"}, "unknown-track", "nowhere"),
        ({"region": "atlantis"}, "unknown-location", "atlantis"),
    ],
)
async def test_bad_input_is_refused_by_name_and_changes_nothing(harness, where, kind, named):
    route_id = harness.new_route_id()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id, **where)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == (kind, True)
    assert named in fault.summary
    assert harness.cloud.created == []
    assert harness.store.routes.get(route_id) is None


async def test_a_route_that_serves_is_not_provisioned_over(harness):
    route_id = harness.new_route_id()
    await harness.provision(route_id)
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("route-occupied", True)
    await assert_serves(harness, route_id)


async def test_a_release_that_crashes_leaves_no_machine_and_names_its_fault(harness):
    harness.store.settings.set("default_release_tag", "v0.0.76", harness.operation())
    route_id = harness.new_route_id()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id)
    fault = fault_of(failed.value.cause)
    assert fault.fault_class == "release"
    assert fault.machine_key == f"{route_id}-g1"
    assert fault.journal_tail
    await assert_nothing_is_left(harness, route_id)
