"""`--no-wait` and `--timeout`: the command ends, and what it has started continues."""

import pytest

from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID
from tests.support.results import result_within


@pytest.fixture
async def held(installation, three_routes):
    """A route on which an installation will hang, until the gate opens."""
    gate = installation.harness.hosts.hold_installs()
    yield three_routes[0], gate
    gate.open()


async def test_a_timeout_ends_the_wait_and_not_the_swap(installation, held):
    route_id, gate = held
    ended = await installation.relight("route", "swap", route_id, "v0.0.74", "--timeout", "1s")
    assert ended.code == 1
    assert f"route/{route_id} has not ended within 1 s; it continues" in ended.said
    assert f"relight route show {route_id}" in ended.said
    gate.open()
    harness = installation.harness
    await harness.until(lambda: harness.route(route_id).current_release_tag == "v0.0.74")


async def test_without_waiting_the_answer_is_the_workflow(installation, held):
    route_id, gate = held
    started = await installation.relight(
        "route", "swap", route_id, "v0.0.74", "--no-wait", "--json"
    )
    assert started.code == 0, started
    assert started.json == {"workflow_id": f"route/{route_id}", "started": True}
    await gate.reached()


async def test_a_watch_of_a_rollout_ends_after_its_timeout(installation, held):
    _, gate = held
    words = ("rollout", "start", "v0.0.74", "--wait", "--timeout", "1s", "--json")
    ended = await installation.relight(*words)
    assert ended.code == 1
    assert '"kind":"timed-out"' in ended.err.splitlines()[-1]
    watched = await installation.relight("rollout", "watch", "--timeout", "1s")
    assert "relight rollout watch v0.0.74" in watched.said
    gate.open()
    assert (await installation.relight("rollout", "watch")).code == 0


async def test_a_reconcile_run_is_only_started(installation, three_routes):
    started = await installation.relight("reconcile", "--no-wait")
    assert started.code == 0, started
    assert "the reconcile run is started" in started.out
    client = installation.harness.client
    await result_within(client.get_workflow_handle(RECONCILE_WORKFLOW_ID))


@pytest.mark.parametrize(
    "words",
    [
        ("route", "swap", "east-1", "v0.0.74", "--no-wait", "--timeout", "1s"),
        ("rollout", "start", "v0.0.74", "--timeout", "1s"),
        ("rollout", "watch", "--timeout", "soon"),
        ("reconcile", "--dry-run", "--no-wait"),
    ],
    ids=" ".join,
)
async def test_options_that_do_not_fit_are_bad_input(relight, one_faulted, words):
    ended = await relight(*words)
    assert ended.code == 2, ended
