"""A route is shown as what it is known to be now: not as proven, once its machine is silent."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.fault.table import fault
from relight.domain.liveness import Liveness, LivenessCheck
from relight.domain.names import machine_workflow_id
from relight.domain.proof import Proof
from relight.domain.route import RouteStatus
from relight.store.store import Store
from tests.starter.in_process import InProcess
from tests.starter.installation import Installation
from tests.starter.stores import serve_all
from tests.store.fleets import MANUAL, failing, proving, run_on, serve
from tests.store.pools import made_ready

MINUTE = timedelta(minutes=1)


def fall_silent(store: Store, key: str, since: datetime) -> None:
    store.liveness.record([Liveness(machine_key=key, answers=False, since=since)])


@pytest.fixture
def silent_store(store: Store) -> Store:
    """Two routes that serve; the machine of the first has been silent for three minutes."""
    now = datetime.now(UTC)
    for route_id in ("east-1", "east-2"):
        serve(store, route_id, at=now - 9 * MINUTE)
    fall_silent(store, "east-1-g1", now - 3 * MINUTE)
    store.liveness.record_check(LivenessCheck(began_at=now, machines=2, silent=1))
    return store


@pytest.mark.parametrize(
    "words", [("fleet", "status"), ("route", "list"), ("route", "show", "east-1")], ids=" ".join
)
async def test_a_route_with_a_silent_machine_is_unreachable_and_not_proven(
    relight: InProcess, silent_store: Store, words: tuple[str, ...]
) -> None:
    shown = await relight(*words)
    [row] = [line for line in shown.out.splitlines() if "192.0.2.7" in line and "east-1" in line][
        :1
    ]
    assert "unreachable" in row
    assert "proven" not in row
    assert "east-1 unreachable since" in shown.out
    assert "`relight route verify east-1`" in shown.out


async def test_the_fleet_is_not_converged_while_a_machine_is_silent(relight, silent_store):
    status = (await relight("fleet", "status", "--json")).json
    assert (status["converged"], status["not_known"]) == (False, ["east-1"])
    assert (status["proven"], status["others"]) == ({"v0.0.73": 1}, {"unreachable": 1})
    counted = "2 routes; proven: 1 x v0.0.73; unreachable: 1\n"
    assert counted in (await relight("fleet", "status")).out
    assert status["liveness"]["machines"] == 2
    first, second = status["routes"]
    assert (first["status"], first["known_release_tag"]) == ("unreachable", None)
    assert datetime.fromisoformat(first["since"]) < datetime.now(UTC) - 2 * MINUTE
    assert (second["status"], second["known_release_tag"]) == ("proven", "v0.0.73")
    assert second["since"] == second["proven_at"]
    assert (await relight("route", "list", "--json")).json == status["routes"]
    assert (await relight("route", "show", "east-1", "--json")).json["route"] == first


async def test_a_proof_after_the_silence_counts_again(relight, silent_store):
    proof: Proof = proving("east-1", at=datetime.now(UTC)).proof
    request = proving("east-1").model_copy(update={"proof": proof})
    silent_store.routes.record_proof(request, run_on("east-1").activity())
    status = (await relight("fleet", "status", "--json")).json
    assert (status["converged"], status["not_known"]) == (True, [])
    assert "unreachable" not in (await relight("route", "list")).out


async def test_a_proof_that_is_too_old_is_stale_and_not_counted(relight, store):
    old = datetime.now(UTC) - timedelta(hours=25)
    serve(store, "east-1", at=old)
    serve_all(store, "east-2")
    status = (await relight("fleet", "status", "--json")).json
    assert (status["converged"], status["not_known"], status["drifted"]) == (False, ["east-1"], [])
    assert (status["proven"], status["others"]) == ({"v0.0.73": 1}, {"stale": 1})
    stale = status["routes"][0]
    assert (stale["status"], stale["known_release_tag"]) == ("stale", None)
    assert datetime.fromisoformat(stale["since"]) == old + timedelta(hours=24)
    shown = (await relight("route", "list")).out
    assert "1 stale: the last proof is older than 1 d" in shown
    longer = relight.where(RELIGHT_RECONCILE__PROOF_LASTS="PT26H")
    assert (await longer("fleet", "status", "--json")).json["converged"] is True


async def test_a_machine_that_its_provider_does_not_have_is_gone(relight, store):
    serve_all(store, "east-1", "east-2")
    since = datetime.now(UTC)
    store.remediations.record_gone_since("east-1", since)
    at_once = {"RELIGHT_RECONCILE__REPLACEMENT__GONE_FOR": "PT0.000001S"}
    assert "gone" not in (await relight("route", "list")).out
    shown = await relight.where(**at_once)("route", "list")
    assert "east-1 gone since" in shown.out
    status = (await relight.where(**at_once)("fleet", "status", "--json")).json
    assert (status["not_known"], status["others"]) == (["east-1"], {"gone": 1})
    assert datetime.fromisoformat(status["routes"][0]["since"]) == since


async def test_a_host_that_no_operation_could_reach_is_unreachable_since_the_first(relight, store):
    serve_all(store, "east-1")
    before = datetime.now(UTC)
    for _ in range(2):
        unreachable = fault("host-unreachable", "no SSH login")
        recorded = failing("east-1", unreachable, key="east-1-g1")
        store.routes.record_fault(recorded, run_on("east-1").activity())
    first = store.events.list(kind="fault-recorded")[0].at
    [route] = (await relight("route", "list", "--json")).json
    assert (route["status"], route["known_release_tag"]) == ("unreachable", None)
    assert before <= datetime.fromisoformat(route["since"]) == first
    assert "east-1 unreachable: no SSH login" in (await relight("route", "list")).out


@pytest.mark.parametrize(
    ("check", "ago", "text"),
    [
        (None, 0 * MINUTE, "liveness: not checked yet"),
        ({}, 9 * MINUTE, "liveness: last checked"),
        (
            {"offline": "no connectivity check succeeded"},
            0 * MINUTE,
            "liveness: unknown, no connectivity check succeeded",
        ),
        (
            {"machines": 5, "not_probed": 3},
            0 * MINUTE,
            "liveness: 3 of 5 machines could not be probed",
        ),
    ],
    ids=["never", "long ago", "offline", "not probed"],
)
async def test_the_fleet_says_if_its_liveness_is_not_known(relight, store, check, ago, text):
    serve_all(store, "east-1")
    if check is not None:
        store.liveness.record_check(LivenessCheck(began_at=datetime.now(UTC) - ago, **check))
    assert text in (await relight("fleet", "status")).out


async def test_a_fleet_that_was_checked_lately_has_no_line_about_it(relight, store):
    serve_all(store, "east-1")
    store.liveness.record_check(LivenessCheck(began_at=datetime.now(UTC), machines=1))
    assert "liveness" not in (await relight("fleet", "status")).out


async def test_a_route_that_is_fine_is_verified_by_command(installation: Installation):
    [route_id] = await installation.provision(1)
    before = installation.harness.route(route_id)
    ended = await installation.relight("route", "verify", route_id, "-r", "to be sure")
    assert ended.code == 0, ended
    assert f"{route_id}: proven at v0.0.73 on {route_id}-g1" in ended.out
    after = installation.harness.route(route_id)
    assert before.proven_at is not None
    assert after.proven_at is not None
    assert after.proven_at > before.proven_at
    proven = installation.harness.events(route_id, kind="route-proven")[-1]
    assert (proven.workflow_id, proven.reason) == (f"verify/{route_id}", "to be sure")


async def test_a_verification_by_command_ends_the_silence_of_a_machine_that_answers(installation):
    [route_id] = await installation.provision(1)
    store = installation.harness.store
    fall_silent(store, f"{route_id}-g1", datetime.now(UTC))
    listed = (await installation.relight("route", "list", "--json")).json
    assert [each["status"] for each in listed] == ["unreachable"]
    ended = await installation.relight("route", "verify", route_id, "--json")
    assert ended.json["status"] == "proven"
    listed = (await installation.relight("route", "list", "--json")).json
    assert [each["status"] for each in listed] == ["proven"]


async def test_a_route_whose_host_is_newer_than_its_record_is_not_called_proven(installation):
    [route_id] = await installation.provision(1)
    installation.harness.hosts.of(route_id).version = "0.0.78"  # An old store knows nothing of it.
    ended = await installation.relight("route", "verify", route_id)
    assert ended.code == 1
    assert "0.0.78, which is newer than v0.0.73 on record" in ended.err
    assert "`relight store check`" in ended.err


async def test_a_dead_route_is_found_by_command(installation, monkeypatch):
    monkeypatch.setattr("activities.fleet.verification.PAUSE", timedelta(milliseconds=10))
    [route_id] = await installation.provision(1)
    installation.harness.hosts.unreachable.add(f"{route_id}-g1")
    ended = await installation.relight("route", "verify", route_id)
    assert ended.code == 1
    assert "host-unreachable" in ended.err
    assert installation.harness.route(route_id).status is RouteStatus.FAULTED


async def test_a_route_in_an_operation_is_not_verified(installation):
    [route_id] = await installation.provision(1)
    gate = installation.harness.hosts.hold_installs()
    swap = await installation.harness.start_swap(route_id, "v0.0.74")
    await gate.reached()
    await installation.refuses(3, ("route", "verify", route_id), "an operation is running on it")
    gate.open()
    await swap.result()


async def test_an_unknown_or_retired_route_is_not_verified(installation):
    await installation.refuses(2, ("route", "verify", "nobody"), "nobody")
    [route_id] = await installation.provision(1)
    await installation.relight("route", "retire", route_id, "-r", "it is over")
    await installation.harness.client.get_workflow_handle(
        machine_workflow_id(f"{route_id}-g1")
    ).result()
    await installation.refuses(3, ("route", "verify", route_id), "no machine")


async def test_a_silent_pool_machine_is_not_shown_as_ready(relight, store):
    store.pool_sizes.set("lab", "east", 1, MANUAL)
    key = made_ready(store)
    assert "1 of 1 are ready" in (await relight("pool", "list")).out
    fall_silent(store, key, datetime.now(UTC) - MINUTE)
    shown = (await relight("pool", "list")).out
    assert "0 of 1 are ready" in shown
    assert "unreachable" in shown
    [machine] = (await relight("pool", "list", "--json")).json["machines"]
    assert machine["status"] == "unreachable"
