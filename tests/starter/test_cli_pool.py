"""`relight pool`: machines that are kept ready."""

from datetime import UTC, datetime, timedelta

from relight.domain.breaker.breaker import Breaker, BreakerIncident
from relight.domain.fault.table import fault
from relight.domain.pool.pool import PoolStatus, pool_workflow_id
from relight.domain.pool.tries import PoolPolicy
from relight.hosts.errors import HostKeyMismatchError
from tests.starter.stores import refused, serve_all
from tests.store.fleets import MANUAL
from tests.store.pools import claim, made_ready


async def test_a_pool_is_set_filled_and_listed(installation):
    harness, relight = installation.harness, installation.relight
    assert "no pools yet" in (await relight("pool", "list")).out
    assert (await relight("pool", "set", "fake", "fake-west", "1", "--unchecked")).code == 0
    assert "fake/fake-west: 0 of 1 are ready" in (await relight("pool", "list")).out
    [route_id] = await installation.provision(1)
    await relight("pool", "set", "fake", "fake-east", "1", "--unchecked")
    await relight("route", "replace", route_id, "-r", "it is old")
    pool = harness.client.get_workflow_handle(pool_workflow_id("fake", "fake-east"))
    await pool.result()
    listed = (await relight("pool", "list", "--json")).json
    assert [(each["region"], each["size"]) for each in listed["sizes"]] == [
        ("fake-east", 1),
        ("fake-west", 1),
    ]
    [machine] = listed["machines"]
    assert (machine["key"], machine["status"]) == ("pool-fake-fake-east-1", "ready")


async def test_a_pool_shows_the_release_that_passed_and_not_the_declared_one(relight, store):
    serve_all(store, "east-1")
    store.fleet_settings.set("default_release_tag", "v0.0.76", MANUAL)
    store.pool_sizes.set("lab", "east", 1, MANUAL)
    told = "lab/east: 0 of 1 are ready, at v0.0.73 (most routes were proven at it; v0.0.76 is"
    for words in (("pool", "list"), ("fleet", "status")):
        assert told in (await relight(*words)).out
    [pool] = (await relight("pool", "list", "--json")).json["sizes"]
    assert (pool["release_tag"], pool["waits"]) == ("v0.0.73", None)


async def test_a_pool_that_is_stopped_says_so_and_is_made_to_try_again(relight, store):
    store.fleet_settings.set("default_release_tag", "v0.0.73", MANUAL)
    store.pool_sizes.set("lab", "east", 1, MANUAL)
    cause = fault("unit-failed", "it crashed")
    for _ in range(3):
        store.pool_sizes.record_failed_try("lab", "east", "v0.0.73", cause, PoolPolicy(), MANUAL)
    for words in (("pool", "list"), ("fleet", "status")):
        shown = (await relight(*words)).out
        assert "it is stopped: 3 tries in a row to make a machine ready at v0.0.73" in shown
        assert "`relight pool retry lab east`" in shown
    done = await relight("pool", "retry", "lab", "east", "-r", "the package is repaired")
    assert done.out == "the pool of lab/east tries again in the next reconcile run\n"
    assert "stopped" not in (await relight("pool", "list")).out
    refused(await relight("pool", "retry", "lab", "west"), 2, "lab/west has no pool")


async def test_a_pool_machine_is_recycled_by_a_persons_word(relight, store):
    key = made_ready(store)
    done = await relight("pool", "recycle", key, "-r", "another host key answers")
    assert done.out == f"{key} leaves its pool; the next reconcile run destroys it\n"
    assert store.pool.list()[0].status is PoolStatus.LEAVING
    for kind in ("pool-machine-leaving", "machine-removal-requested"):
        [event] = store.events.list(kind=kind)
        assert (event.machine_key, event.reason) == (key, "another host key answers")
    refused(await relight("pool", "recycle", "east-1-g1"), 2, "no pool has a machine east-1-g1")


async def test_machines_of_a_pool_that_show_other_host_keys_are_destroyed_once_a_person_says_so(
    installation,
):
    """Both do, so that automation takes it for its own fault and leaves them."""
    harness, relight = installation.harness, installation.relight
    keys = [await harness.pool_machine(), await harness.pool_machine()]
    harness.store.pool_sizes.set("fake", "fake-east", 2, harness.operation())
    harness.hosts.locked_out = dict.fromkeys(keys, HostKeyMismatchError)
    for key in keys:
        harness.store.pool.record_fault(key, fault("host-key-mismatch", ""), harness.operation())
    for _ in range(10):
        await harness.serving_route()  # Proven since, so the breaker knows that it is not our key.
    for key in keys:
        assert (await relight("pool", "recycle", key, "-r", "checked: not ours")).code == 0
    for _ in range(3):
        await relight("reconcile")
        await installation.nothing_runs()
    assert sorted(harness.destroyed()) == keys
    machines = harness.store.pool.list()
    assert [each.status for each in machines] == [PoolStatus.READY] * 2
    assert not {each.key for each in machines} & set(keys)
    words = harness.events(kind="machine-removal-requested")
    assert [(each.machine_key, each.reason) for each in words] == [
        (key, "checked: not ours") for key in keys
    ]


async def test_a_word_about_a_machine_that_a_route_has_claimed_is_refused(installation):
    """It would count for ever: the machine would be destroyed at its first fault."""
    harness = installation.harness
    key, route_id = await harness.pool_machine(), await harness.serving_route()
    claim(harness.store, route_id)
    words = ("pool", "recycle", key)
    await installation.refuses(2, words, f"no pool has a machine {key}")
    assert harness.events(kind="machine-removal-requested") == []


async def test_an_incident_is_shown_by_the_fleet_and_the_pools_with_what_to_do(relight, store):
    now = datetime.now(UTC) - timedelta(minutes=1)
    incident = BreakerIncident(
        opened_at=now,
        last_observed_at=now,
        summary="fleet: 8 of 8 machines answer, but lock the control plane out (login-refused)",
        to_do="Check RELIGHT_SSH__CLIENT_KEY.",
        locks_out=True,
    )
    store.breaker.update(lambda _: Breaker(incident=incident), MANUAL)
    store.fleet_settings.set("default_release_tag", "v0.0.73", MANUAL)
    store.pool_sizes.set("lab", "east", 1, MANUAL)
    for words in (("fleet", "status"), ("breaker", "status")):
        shown = (await relight(*words)).out
        assert incident.summary in shown
        assert incident.to_do in shown
    assert "the breaker is open" in (await relight("pool", "list")).out
    assert (await relight("fleet", "status", "--json")).json["incident"]["locks_out"] is True
