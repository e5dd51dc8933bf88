"""What differs from a route's configuration is found by its next proof, and repaired."""

import pytest

from relight.domain.reconcile.plan import ActionKind
from tests.workflows.reconciler import MOMENT, POLICY, Reconciler, kinds
from tests.workflows.replacing import replace
from tests.workflows.rollout.test_configuration import record


@pytest.fixture
async def configured(harness, route_ids):
    """The release with a configuration that all routes are at, and its secrets."""
    harness.parts.secrets["TOKEN"] = "squirrel"
    tag = record(harness, "calm")
    await harness.ended(await harness.start_rollout(tag))
    assert harness.current_tags(route_ids) == [tag] * len(route_ids)
    return tag


async def repaired(reconciler: Reconciler) -> int:
    """Verify all routes, and let the next run repair what was found; return how many it did."""
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    await reconciler.run()
    reconciler.policy = POLICY
    return kinds(await reconciler.run())[ActionKind.REPAIR]


async def test_an_edited_file_is_written_again(harness, reconciler, route_ids, configured):
    host = harness.hosts.of(route_ids[0])
    before = host.configuration
    host.edited = ["/etc/lantern-box/config.json was changed"]
    assert await repaired(reconciler) == 1
    found = {event.fault_kind for event in harness.events(route_ids[0])} - {None}
    assert found == {"configuration-edited"}
    assert (host.edited, host.configuration) == ([], before)
    assert harness.current_tags(route_ids) == [configured] * len(route_ids)
    assert harness.route(route_ids[0]).fault is None


async def test_a_changed_secret_is_brought_to_the_hosts(harness, reconciler, route_ids, configured):
    before = [harness.hosts.of(each).configuration for each in route_ids]
    harness.parts.secrets["TOKEN"] = "other"
    for _ in route_ids:
        await repaired(reconciler)
    after = [harness.hosts.of(each).configuration for each in route_ids]
    assert not set(before) & set(after)
    assert all(after)


async def test_a_worker_without_a_secret_blames_no_host(harness, reconciler, route_ids, configured):
    del harness.parts.secrets["TOKEN"]
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    done = await reconciler.run()
    assert (done.faulted, done.skipped) == (0, len(route_ids))
    assert [harness.route(each).fault for each in route_ids] == [None] * len(route_ids)


async def test_a_machine_of_the_pool_gets_the_configuration_of_its_route(
    harness, route_ids, configured
):
    key = await harness.pool_machine()
    replaced = await replace(harness, route_ids[0])
    assert replaced.machine.key == key
    host = harness.hosts.host(key)
    assert host is not None
    assert host.configuration == replaced.proof.configuration != ""
