"""`relight reconcile`: the dry run and the run."""

from tests.starter.installation import Installation


async def test_the_dry_run_shows_the_plan_that_a_run_follows(
    installation: Installation, three_routes: list[str]
):
    await installation.nothing_runs()
    store = installation.harness.store
    store.fleet_settings.set("default_release_tag", "v0.0.74", installation.harness.operation())
    before = installation.declared()
    dry = await installation.relight("reconcile", "--dry-run")
    assert dry.code == 0, dry
    assert "start rollout" in dry.out
    assert "3 of 3 routes do not run v0.0.74" in dry.out
    assert installation.declared() == before
    as_json = await installation.relight("reconcile", "--dry-run", "--json")
    done = await installation.relight("reconcile", "--json", "--reason", "to see")
    assert done.code == 0, done
    assert done.json["observed"]["plan"] == as_json.json["observed"]["plan"]
    assert done.json["started"] == {"start rollout": 1}
    rollout = installation.harness.client.get_workflow_handle("rollout/v0.0.74/fleet")
    await rollout.result()
    await installation.nothing_runs()
    idle = await installation.relight("reconcile")
    assert idle.out.splitlines()[-1] == "nothing to do"


async def test_without_a_worker_it_is_refused(installation: Installation):
    await installation.refuses(
        3, ("reconcile",), "no worker listens", RELIGHT_TASK_QUEUE="nobody-listens-here"
    )
