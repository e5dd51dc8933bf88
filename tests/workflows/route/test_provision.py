"""ProvisionRoute leaves a route that serves; or no machine, and no half recorded route."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml
from pydantic import SecretBytes
from temporalio.client import WorkflowFailureError

from devkit.chaos.provider_faults import PROVIDER_FAULTS, Call, ProviderFault
from devkit.simulated.written_files import content
from relight.domain.machine import MachineStatus
from relight.domain.names import route_workflow_id
from relight.domain.route import RouteStatus
from relight.providers.driver import MachineSpec
from tests.support.interference import CUT_SHORT, REPEATED, Injection
from tests.workflows.harness import Harness
from tests.workflows.matrix import run_cells
from workflows.failures import fault_of

STEPS = (
    "check_vacant",
    "desired_release",
    "describe_region",
    "resolve_release",
    "choose_image",
    "check_new_key",
    "open_route",
    "render_cloud_init",
    "create_machine",
    "await_machine",
    "record_machine",
    "await_first_boot",
    "prove_release",
    "record_proof",
)


def assert_serves(harness: Harness, route_id: str) -> None:
    """The route serves and is proven, on the only machine that was made for it."""
    route = harness.route(route_id)
    assert route.status is RouteStatus.SERVING
    assert route.current_release_tag == route.target_release_tag == "v0.0.73"
    assert route.machine is not None
    machine = harness.cloud.read(f"{route_id}-g1")
    assert machine is not None
    assert machine.ref == route.machine.ref
    assert machine.status is MachineStatus.RUNNING
    assert harness.cloud.created.count(machine.key) == 1
    assert len(harness.events(route_id, "route-proven")) == 1


async def assert_nothing_is_left(harness: Harness, route_id: str, *, faults: int = 1) -> None:
    """No machine at the provider, none on record as running, and no half recorded route."""
    assert await harness.machines_of(route_id) == []
    route = harness.store.routes.get(route_id)
    if route is not None:
        assert route.status is RouteStatus.FAILED
        assert route.machine is None
        assert route.current_release_tag is None
    for machine in harness.store.machines.list(route_id):
        assert machine.status == "destroyed"
    recorded = harness.events(route_id, "fault-recorded")
    assert len(recorded) == faults
    assert all(event.fault_kind is not None for event in recorded)


async def test_a_route_is_provisioned_in_the_order_of_its_steps(harness):
    route_id = harness.new_route_id()
    provisioned = await harness.provision(route_id)
    assert provisioned.release_tag == "v0.0.73"
    assert provisioned.machine.key == f"{route_id}-g1"
    assert tuple(harness.interference.ran) == STEPS
    assert_serves(harness, route_id)


async def test_a_route_that_tests_set_up_directly_equals_a_provisioned_one(harness):
    provisioned, direct = harness.new_route_id(), await harness.serving_route()
    await harness.provision(provisioned)

    def state(route_id):
        different = {"route_id", "machine", "proven_at", "created_at", "updated_at"}
        route = harness.route(route_id)
        assert route.machine is not None
        machine = route.machine.model_dump(exclude={"key", "provider_id", "address"})
        assert route.machine.address is not None
        [record] = harness.store.machines.list(route_id)
        kinds = [event.kind for event in harness.events(route_id)]
        return (
            route.model_dump(exclude=different),
            machine,
            record.status,
            record.generation,
            kinds,
        )

    assert_serves(harness, direct)
    assert state(direct) == state(provisioned)


@pytest.mark.parametrize("injection", REPEATED)
async def test_a_step_that_runs_again_changes_nothing(roomy_harness, boundaries, injection):
    async def cell(harness: Harness, step: str) -> str:
        route_id = harness.new_route_id()
        harness.interference.inject(injection, step, route_workflow_id(route_id))
        await harness.provision(route_id)
        assert_serves(harness, route_id)
        return "it serves"

    for step, end in (await run_cells(roomy_harness, cell, STEPS)).items():
        boundaries.ended("ProvisionRoute", step, injection, end)


@pytest.mark.parametrize("injection", CUT_SHORT)
async def test_a_step_that_is_cut_short_leaves_nothing(roomy_harness, boundaries, injection):
    async def cell(harness: Harness, step: str) -> str:
        route_id = harness.new_route_id()
        harness.interference.inject(injection, step, route_workflow_id(route_id))
        if step == "record_proof" and injection.startswith("cancelled"):
            assert (await harness.provision(route_id)).machine.key == f"{route_id}-g1"
            assert_serves(harness, route_id)
            return "it serves"
        with pytest.raises(WorkflowFailureError) as failed:
            await harness.provision(route_id)
        kind = fault_of(failed.value.cause).kind
        assert kind == ("cancelled" if injection.startswith("cancelled") else "controller-bug")
        if step == "record_proof" and injection is Injection.FAILS_AFTER:
            # The proof is on record: the machine serves, and nothing that serves is destroyed.
            [kept] = await harness.machines_of(route_id)
            route = harness.route(route_id)
            assert route.machine is not None
            assert (route.status, route.machine.ref) == (RouteStatus.FAULTED, kept.ref)
            return "its machine is kept"
        # Until the route is known to be vacant, nothing is written about it. A cancellation is
        # noticed after that.
        faults = int(step != "check_vacant" or injection.startswith("cancelled"))
        await assert_nothing_is_left(harness, route_id, faults=faults)
        return "nothing is left"

    for step, end in (await run_cells(roomy_harness, cell, STEPS)).items():
        boundaries.ended("ProvisionRoute", step, injection, end)


async def test_a_fault_of_the_provider_makes_no_second_machine(roomy_harness, boundaries):
    async def cell(harness: Harness, case: tuple[Call, ProviderFault]) -> str:
        call, fault = case
        route_id = harness.new_route_id()
        harness.cloud.provider_faults.inject(fault, call)
        await harness.provision(route_id)
        assert harness.cloud.provider_faults.pending == 0
        assert_serves(harness, route_id)
        return "it serves"

    cases = [case for case in PROVIDER_FAULTS if case[0] is not Call.DESTROY]
    for (call, fault), end in (await run_cells(roomy_harness, cell, cases)).items():
        boundaries.ended("ProvisionRoute", f"provider: {call}", fault, end)


@pytest.mark.usefixtures("impatient_destruction")
async def test_a_fault_of_the_provider_while_it_destroys_leaves_nothing(roomy_harness, boundaries):
    async def cell(harness: Harness, fault: ProviderFault) -> str:
        route_id = harness.new_route_id()
        harness.interference.inject(
            Injection.FAILS_AFTER, "create_machine", route_workflow_id(route_id)
        )
        harness.cloud.provider_faults.inject(fault, Call.DESTROY)
        with pytest.raises(WorkflowFailureError):
            await harness.provision(route_id)
        assert harness.cloud.provider_faults.pending == 0
        await assert_nothing_is_left(harness, route_id)
        return "nothing is left"

    for fault, end in (await run_cells(roomy_harness, cell, ProviderFault)).items():
        boundaries.ended("ProvisionRoute", f"provider: {Call.DESTROY}", fault, end)


async def test_another_owners_machine_under_the_routes_key_is_neither_used_nor_destroyed(harness):
    route_id = harness.new_route_id()
    theirs = MachineSpec(
        region="fake-east", user_data=SecretBytes(b""), owner="somebody-else", generation=1
    )
    machine = await harness.cloud.ensure(f"{route_id}-g1", theirs)
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("machine-conflict", False)
    assert "somebody-else" in fault.summary
    assert Call.DESTROY not in harness.cloud.provider_faults.calls
    [found] = await harness.machines_of(route_id)
    assert (found.ref, found.status) == (machine.ref, MachineStatus.RUNNING)
    # It is unknown whether a machine of ours has the key, so the record stays.
    assert [m.status for m in harness.store.machines.list(route_id)] == ["planned"]
    assert harness.route(route_id).status is RouteStatus.FAILED


async def test_a_failed_route_is_provisioned_again_as_its_next_generation(harness):
    route_id = harness.new_route_id()
    harness.interference.inject(Injection.FAILS_AFTER, "create_machine")
    with pytest.raises(WorkflowFailureError):
        await harness.provision(route_id)
    provisioned = await harness.provision(route_id)
    assert provisioned.machine.key == f"{route_id}-g2"
    assert [m.status for m in harness.store.machines.list(route_id)] == ["destroyed", "running"]


async def test_without_a_declared_release_it_is_refused_and_creates_nothing(harness):
    harness.store.fleet_settings.unset("default_release_tag", harness.operation())
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


async def test_a_release_with_a_url_is_downloaded_from_there_at_the_first_boot(harness):
    harness.releases.add_with_url("v0.0.78", "amd64")
    harness.store.tracks.set("downloaded", "v0.0.78", harness.operation())
    provisioned = await harness.provision(harness.new_route_id(), track="downloaded")
    assert provisioned.proof.version == "0.0.78"
    user_data = yaml.safe_load(harness.cloud.user_data[provisioned.machine.key])
    script = content(user_data["write_files"][-1])
    assert "https://files.example/lantern-box_0.0.78_amd64.deb" in script


@pytest.mark.parametrize(
    ("changed", "kind", "named"),
    [
        ({"track": "nowhere"}, "unknown-track", "nowhere"),
        ({"region": "atlantis"}, "unknown-location", "atlantis"),
    ],
)
async def test_bad_input_is_refused_by_name_and_changes_nothing(harness, changed, kind, named):
    route_id = harness.new_route_id()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id, **changed)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == (kind, True)
    assert named in fault.summary
    assert harness.cloud.created == []
    assert harness.store.routes.get(route_id) is None
    assert harness.events(route_id) == []


@pytest.mark.parametrize("changed", [{}, {"track": "nowhere"}, {"region": "atlantis"}])
async def test_a_refused_provision_writes_nothing_about_a_route_that_serves(harness, changed):
    route_id = await harness.serving_route()
    before = harness.events()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id, **changed)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("route-occupied", True)
    assert harness.events() == before
    assert_serves(harness, route_id)


async def test_a_provision_that_is_cancelled_at_once_is_no_fault_of_a_route_that_serves(harness):
    route_id = await harness.serving_route()
    harness.interference.inject(Injection.CANCELLED_BEFORE, "check_vacant")
    with pytest.raises(WorkflowFailureError):
        await harness.provision(route_id)
    assert harness.events(route_id, "fault-recorded") == []
    # Reconciliation would repair a route with such a fault.
    assert harness.store.remediations.histories(datetime.now(UTC) - timedelta(days=1)) == {}


async def test_a_release_that_crashes_leaves_no_machine_and_names_its_fault(harness):
    harness.store.fleet_settings.set("default_release_tag", "v0.0.76", harness.operation())
    route_id = harness.new_route_id()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id)
    fault = fault_of(failed.value.cause)
    assert fault.fault_class == "release"
    assert fault.machine_key == f"{route_id}-g1"
    assert fault.journal_tail
    await assert_nothing_is_left(harness, route_id)
