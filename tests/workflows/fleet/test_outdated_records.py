"""A store that was restored from an old backup: nothing is changed until a person has decided."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.comparison import CompareRecordsInput, RecordsCompared, Verdict
from relight.domain.names import machine_workflow_id, route_workflow_id
from relight.domain.reconcile.plan import ActionKind
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.route import RouteStatus
from relight.domain.sweep.sweep import SweepStep
from relight.store.tables import RecordStatus
from tests.support.interference import Injection
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.pools import keep_pool
from tests.workflows.reconciler import MOMENT, POLICY, Reconciler, kinds, left_alone
from workflows.failures import fault_of
from workflows.fleet.comparison import CompareRecords
from workflows.route.replace import AutoreplaceRoute

pytestmark = pytest.mark.attack("a store from an old backup")

NEW = "v0.0.74"
CHANGES = {*ActionKind} - {ActionKind.VERIFY}


class Backup:
    """A backup of the store of a test, made when it is constructed."""

    def __init__(self, folder: Path) -> None:
        self._live, self._kept = folder / "fleet.db", folder / "backup.db"
        self._copy(self._live, self._kept)

    def restore(self) -> None:
        """Replace the whole store by what it was."""
        self._copy(self._kept, self._live)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
            old.backup(new)


async def replace(harness: Harness, route_id: str, **input: object) -> None:
    await harness.client.execute_workflow(
        AutoreplaceRoute.run,
        AutoreplaceRouteInput.model_validate(
            {"route_id": route_id, "reason": "a test", "origin": ORIGIN, "requested": True, **input}
        ),
        id=route_workflow_id(route_id),
        task_queue=harness.task_queue,
    )
    await harness.until_idle()


async def refusal(harness: Harness, route_id: str, **input: object) -> str:
    """Return the kind of the fault with which a replacement was refused."""
    with pytest.raises(WorkflowFailureError) as caught:
        await replace(harness, route_id, **input)
    fault = fault_of(caught.value.cause)
    assert fault.refused
    return fault.kind


async def compare(harness: Harness, **input: object) -> RecordsCompared:
    return await harness.client.execute_workflow(
        CompareRecords.run,
        CompareRecordsInput.model_validate({"origin": ORIGIN, **input}),
        id=f"store/check/{harness.new_route_id()}",
        task_queue=harness.task_queue,
    )


def hosts(harness: Harness) -> dict[str, tuple[str, int]]:
    """Return the version and the number of installations of each host."""
    return {
        key: (host.version, len(host.installs))
        for key in harness.cloud.created
        if (host := harness.hosts.host(key)) is not None
    }


@pytest.fixture
async def fleet(harness: Harness) -> list[str]:
    """Thirteen routes that serve v0.0.73."""
    ids = sorted(harness.new_route_id() for _ in range(13))
    await asyncio.gather(*(harness.serving_route(route_id=each) for each in ids))
    return ids


async def test_a_fleet_that_was_updated_since_the_backup_is_one_incident_until_it_is_adopted(
    harness: Harness, reconciler: Reconciler, fleet: list[str], tmp_path: Path
) -> None:
    backup = Backup(tmp_path)
    for each in fleet[1:]:
        await (await harness.start_swap(each, NEW)).result()
    await harness.until_idle()
    backup.restore()
    before, machines = hosts(harness), await harness.machine_keys()
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    first = await reconciler.run()
    assert (first.doubted, first.faulted, first.proven) == (12, 0, 1)
    reconciler.grace = MOMENT
    for _ in range(3):
        done = await reconciler.run()
        assert not CHANGES & kinds(done).keys()
    assert hosts(harness) == before
    assert await harness.machine_keys() == machines
    [opened] = harness.events(kind="incident-opened")
    assert "our records may be old" in str(opened.detail)
    assert {harness.route(each).status for each in fleet} == {RouteStatus.SERVING}
    [incident] = harness.store.incidents.list()
    assert incident.kind == "records-outdated"

    checked = await compare(harness)
    assert checked.count == {Verdict.AGREES: 1, Verdict.RECORD_BEHIND: 12}
    assert harness.events(kind="current-adopted") == []
    adopted = await compare(harness, adopt=True)
    assert adopted.count == {Verdict.AGREES: 1, Verdict.ADOPTED: 12}
    assert harness.current_tags(fleet) == ["v0.0.73", *[NEW] * 12]
    assert hosts(harness) == before
    done = await reconciler.run()
    assert done.observed is not None
    assert done.observed.plan.faults == ()
    assert harness.store.incidents.list() == []
    assert [event.kind for event in harness.events(kind="incident-ended")] == ["incident-ended"]


async def test_the_release_that_all_routes_run_is_declared_by_its_adoption(
    harness: Harness, reconciler: Reconciler, fleet: list[str], tmp_path: Path
) -> None:
    backup = Backup(tmp_path)
    for each in fleet:
        await (await harness.start_swap(each, NEW)).result()
    backup.restore()
    before = hosts(harness)
    adopted = await compare(harness, adopt=True)
    assert adopted.count == {Verdict.ADOPTED: 14}
    assert harness.store.fleet_settings.get("default_release_tag") == NEW
    # The old declaration would have taken every host back.
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    done = await reconciler.run()
    assert (done.proven, kinds(done).keys() & CHANGES) == (13, set())
    assert hosts(harness) == before


async def test_a_machine_that_replaced_another_since_the_backup_is_not_destroyed(
    harness: Harness, reconciler: Reconciler, fleet: list[str], tmp_path: Path
) -> None:
    route_id = fleet[0]
    backup = Backup(tmp_path)
    await replace(harness, route_id)
    await (await harness.start_swap(route_id, NEW)).result()
    await harness.until_idle()
    new = f"{route_id}-g2"
    harness.cloud.make_older(new, POLICY.proof_lasts)
    backup.restore()
    machines = await harness.machine_keys()
    reconciler.grace = MOMENT
    reconciler.policy = POLICY.model_copy(
        update={
            "proof_lasts": MOMENT,
            "replacement": POLICY.replacement.model_copy(
                update={
                    "gone_for": MOMENT,
                    "unreachable_for": MOMENT,
                    "unreachable_observations": 2,
                }
            ),
        }
    )
    reconciler.limits = reconciler.limits.model_copy(update={"open_share": 0.6})
    for _ in range(5):
        done = await reconciler.run()
        assert not CHANGES & kinds(done).keys()
    assert "our records may be old" in left_alone(done)[f"route {route_id}"]
    # A person's own replacement would adopt the machine, fail to prove it, and destroy it.
    assert await refusal(harness, route_id) == "records-outdated"
    assert await refusal(harness, route_id, unreachable=True) == "records-outdated"
    assert await harness.machine_keys() == machines
    assert harness.destroyed() == []

    adopted = await compare(harness, adopt=True)
    assert adopted.count[Verdict.ADOPTED] == 1
    route = harness.route(route_id)
    assert route.machine is not None
    assert (route.machine.key, route.current_release_tag) == (new, NEW)
    assert route.status is RouteStatus.SERVING
    records = {each.key: each.status for each in harness.store.machines.list(route_id)}
    assert records == {f"{route_id}-g1": RecordStatus.DESTROYED, new: RecordStatus.RUNNING}
    done = await reconciler.run()
    assert done.observed is not None
    assert done.observed.plan.faults == ()
    assert await harness.machine_keys() == machines


async def test_a_machine_that_was_planned_before_the_backup_and_serves_since_is_not_destroyed(
    harness: Harness, reconciler: Reconciler, fleet: list[str], tmp_path: Path
) -> None:
    """Its key is on record as planned: a replacement would take it for its own left-over one."""
    route_id = fleet[0]
    backups: list[Backup] = []
    planned = harness.store.replacements.plan

    def plan_and_back_up(*args, **named):
        opened = planned(*args, **named)
        backups.append(Backup(tmp_path))
        return opened

    harness.store.replacements.plan = plan_and_back_up  # type: ignore[method-assign]
    await replace(harness, route_id)
    new = f"{route_id}-g2"
    harness.cloud.make_older(new, POLICY.proof_lasts)
    backups[0].restore()
    machines = await harness.machine_keys()
    reconciler.grace = MOMENT
    for _ in range(2):
        done = await reconciler.run()
        assert done.observed is not None
        # The operation of the backup is closed; nothing else is changed.
        steps = {each.sweep.step for each in done.observed.plan.actions if each.sweep}
        assert steps <= {SweepStep.CLOSE}
        assert not CHANGES - {ActionKind.SWEEP} & kinds(done).keys()
    assert await harness.machine_keys() == machines
    assert await refusal(harness, route_id) == "records-outdated"
    assert await harness.machine_keys() == machines


async def test_a_route_that_was_provisioned_since_the_backup_is_not_provisioned_again(
    harness: Harness, reconciler: Reconciler, tmp_path: Path
) -> None:
    """Its machine would be adopted, fail to prove an older release, and be destroyed."""
    backup = Backup(tmp_path)
    route_id = await harness.serving_route()
    await (await harness.start_swap(route_id, NEW)).result()
    backup.restore()
    with pytest.raises(WorkflowFailureError) as refused:
        await harness.provision(route_id)
    assert fault_of(refused.value.cause).kind == "records-outdated"
    assert harness.store.routes.get(route_id) is None
    assert await harness.machine_keys() == [f"{route_id}-g1"]
    checked = await compare(harness)
    assert "`relight store adopt-current`, with --track" in checked.comparisons[0].reason
    adopted = await compare(harness, adopt=True, track=harness.track)
    assert adopted.count[Verdict.ADOPTED] == 2
    assert harness.current_tags([route_id]) == [NEW]
    done = await reconciler.run()
    assert done.observed is not None
    assert done.observed.plan.faults == ()


async def test_a_pool_machine_that_was_created_since_the_backup_is_not_taken_for_a_new_one(
    harness: Harness, tmp_path: Path
) -> None:
    """It may serve a route by now."""
    backup = Backup(tmp_path)
    key = await harness.pool_machine()
    backup.restore()
    await keep_pool(harness, 1)
    assert await harness.machine_keys() == [key]
    assert harness.store.pool.list() == []


@pytest.mark.parametrize("recorded", [True, False], ids=["in the pool", "not at all"])
async def test_a_pool_machine_that_a_route_claimed_since_the_backup_serves_it_by_a_persons_word(
    harness: Harness, reconciler: Reconciler, tmp_path: Path, recorded: bool
) -> None:
    """No record says which route has claimed it, and its route's machine on record is gone."""
    route_id = await harness.serving_route()
    backups = [] if recorded else [Backup(tmp_path)]
    key = await harness.pool_machine()
    backups += [Backup(tmp_path)] if recorded else []
    await replace(harness, route_id)
    assert (serving := harness.route(route_id).machine) is not None
    assert (serving.key, await harness.machine_keys()) == (key, [key])
    backups[0].restore()
    before = hosts(harness)

    checked = await compare(harness)
    reasons = {each.about: each.reason for each in checked.comparisons}
    assert "`relight store adopt-current`, with --serves," in reasons[f"route {route_id}"]
    if not recorded:
        assert "adopt-current`, with --serves," in reasons[f"machine {key}"]
        assert f"`relight machine remove {key} --provider fake`" in reasons[f"machine {key}"]
    assert (await compare(harness, adopt=True)).count.get(Verdict.ADOPTED) is None
    nothing = await compare(harness, adopt=True, serves={route_id: "pool-fake-fake-east-99"})
    assert nothing.count.get(Verdict.ADOPTED) is None
    assert harness.route(route_id).machine != serving

    adopted = await compare(harness, adopt=True, serves={route_id: key})
    assert adopted.count == {Verdict.ADOPTED: 1}
    route = harness.route(route_id)
    assert (route.machine, route.status) == (serving, RouteStatus.SERVING)
    assert harness.store.pool.list() == []
    done = await reconciler.run()
    assert done.observed is not None
    assert done.observed.plan.faults == ()
    assert (await harness.machine_keys(), hosts(harness)) == ([key], before)
    # Its next machine is the next of its own, whatever it has claimed.
    await replace(harness, route_id)
    assert len(await harness.machine_keys()) == 1


async def test_a_pool_machine_that_a_route_claimed_since_the_backup_is_not_recycled_as_spare(
    harness: Harness, reconciler: Reconciler, tmp_path: Path
) -> None:
    """By the record it waits in the pool, and the pool has another that is ready."""
    route_id = await harness.serving_route()
    key = await harness.pool_machine()
    backup = Backup(tmp_path)
    await replace(harness, route_id)
    assert await harness.machine_keys() == [key]
    backup.restore()
    other = await harness.pool_machine()
    kept = await keep_pool(harness, 1)
    assert [f"has no machine {route_id}-g1, which route {route_id}" in left for left in kept.left]
    assert await harness.machine_keys() == sorted([key, other])
    assert harness.store.incidents.list() == []
    reconciler.grace = MOMENT
    reconciler.policy = POLICY.model_copy(
        update={"replacement": POLICY.replacement.model_copy(update={"gone_for": MOMENT})}
    )
    for _ in range(3):  # The machine on record is lost by then, and its route has none.
        await reconciler.run()
        await keep_pool(harness, 1)
    assert key in await harness.machine_keys()


async def test_an_upgrade_that_the_record_knows_of_is_drift_and_not_doubt(
    harness: Harness, reconciler: Reconciler, fleet: list[str]
) -> None:
    """An interrupted swap leaves a newer release on the host, but its target is on record."""
    route_id = fleet[0]
    await (await harness.start_swap(route_id, NEW)).result()
    await (await harness.start_swap(route_id, None)).result()
    host = harness.hosts.of(route_id)
    host.version, host.file = "0.0.74", host.file + 1
    host.serve()
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    done = await reconciler.run()
    assert (done.doubted, done.faulted) == (0, 1)


async def test_an_adoption_that_was_cut_short_is_completed_by_the_next_one(
    harness: Harness, fleet: list[str], tmp_path: Path
) -> None:
    backup = Backup(tmp_path)
    for each in fleet:
        await (await harness.start_swap(each, NEW)).result()
    backup.restore()
    # The worker dies when all routes are adopted, and before the declaration is.
    harness.interference.inject(Injection.FAILS_BEFORE, "compare_scopes")
    with pytest.raises(WorkflowFailureError):
        await compare(harness, adopt=True)
    assert harness.store.fleet_settings.get("default_release_tag") == "v0.0.73"
    checked = await compare(harness)
    assert checked.count == {Verdict.AGREES: 13, Verdict.RECORD_BEHIND: 1}
    adopted = await compare(harness, adopt=True)
    assert adopted.count == {Verdict.AGREES: 13, Verdict.ADOPTED: 1}
    assert harness.store.fleet_settings.get("default_release_tag") == NEW


async def test_what_a_running_rollout_will_declare_is_not_adopted_before_it_does(
    harness: Harness, fleet: list[str]
) -> None:
    rollout = await harness.start_rollout(NEW, waves=("100%",), max_concurrent=20, soak="PT1H")
    await harness.until(lambda: set(harness.current_tags(fleet)) == {NEW})
    compared = await compare(harness, adopt=True)
    assert compared.count == {Verdict.AGREES: 13}
    assert harness.store.fleet_settings.get("default_release_tag") == "v0.0.73"
    await rollout.terminate("the test is over")


async def test_a_machine_that_is_given_to_a_route_that_is_not_there_is_told(
    harness: Harness, fleet: list[str]
) -> None:
    compared = await compare(harness, adopt=True, serves={"nobody-1": f"{fleet[0]}-g1"})
    [found] = compared.comparisons
    assert (found.about, found.verdict) == ("route nobody-1", Verdict.UNKNOWN)
    assert "no such route is in service" in found.reason
    assert "`relight route list`" in found.reason


async def test_a_removal_that_runs_although_its_machine_serves_on_record_is_a_doubt(
    harness: Harness, reconciler: Reconciler, fleet: list[str], tmp_path: Path
) -> None:
    """Host, provider and record agree: only the removal shows that another machine serves."""
    in_region = [each for each in fleet if harness.route(each).region == "fake-east"]
    for each in in_region[:2]:  # As many as the hourly limit of a region allows.
        await replace(harness, each)
    await harness.until_idle()
    # The pool has size 0, so by the record the machine is to be recycled.
    route_id, spare = in_region[2], await harness.pool_machine()
    harness.store.pool_sizes.set("fake", "fake-east", 0, harness.operation())
    backup = Backup(tmp_path)
    replacing = await harness.client.start_workflow(
        AutoreplaceRoute.run,
        AutoreplaceRouteInput(
            route_id=route_id, reason="it is slow", requested=True, origin=ORIGIN
        ),
        id=route_workflow_id(route_id),
        task_queue=harness.task_queue,
    )
    assert (await replacing.result()).machine.key == spare
    removal = harness.client.get_workflow_handle(machine_workflow_id(f"{route_id}-g1"))
    backup.restore()
    machines = {key for key in harness.cloud.created if harness.cloud.read(key) is not None}
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    for _ in range(3):
        done = await reconciler.start(RECONCILE_WORKFLOW_ID)
        assert not CHANGES & kinds(done).keys()
    assert machines <= {key for key in harness.cloud.created if harness.cloud.read(key) is not None}
    [incident] = harness.store.incidents.list()
    assert incident.kind == "records-outdated"
    assert "`relight store adopt-current`, with --serves," in incident.summary

    adopted = await compare(harness, adopt=True, serves={route_id: spare})
    assert adopted.count[Verdict.ADOPTED] == 1
    machine = harness.route(route_id).machine
    assert machine is not None
    assert machine.key == spare
    await reconciler.start(RECONCILE_WORKFLOW_ID)
    assert harness.store.incidents.list() == []
    assert harness.cloud.read(spare) is not None
    await removal.terminate("the test is over")
