"""Reconciliation and the breaker by command."""

from datetime import UTC, datetime

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    ConnectivityResult,
)
from tests.starter.operator import Installation


async def test_the_dry_run_says_what_and_why_and_a_pass_does_it(
    installation: Installation, three_routes: list[str]
):
    await installation.nothing_runs()
    store = installation.harness.store
    store.settings.set("default_release_tag", "v0.0.74", installation.harness.operation())
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
    assert done.json["begun"] == {"start rollout": 1}
    rollout = installation.harness.client.get_workflow_handle("rollout/v0.0.74/fleet")
    await rollout.result()
    await installation.nothing_runs()
    idle = await installation.relight("reconcile")
    assert idle.out.splitlines()[-1] == "nothing to do"


async def test_without_a_worker_nothing_is_begun(installation: Installation):
    await installation.refuses(
        3, ("reconcile",), "no worker listens", RELIGHT_TASK_QUEUE="nobody-listens-here"
    )


async def test_the_breaker_shows_its_incident_and_its_witnesses(installation: Installation):
    store, now = installation.harness.store, datetime.now(UTC)
    assert (await installation.relight("breaker", "status")).out.startswith("closed")
    incident = BreakerIncident(opened_at=now, last_observed_at=now, summary="region fake/x: 2 of 2")
    store.breaker.turn(lambda _: Breaker(incident=incident), installation.harness.operation())
    store.breaker.record_connectivity(
        [
            ConnectivityResult(
                name="https://a.example", observed_at=now, reached=False, said="no answer"
            )
        ]
    )
    shown = (await installation.relight("breaker", "status")).out
    assert "OPEN since" in shown
    assert "region fake/x: 2 of 2" in shown
    assert "no answer" in shown
    as_json = (await installation.relight("breaker", "status", "--json")).json
    assert as_json["breaker"]["incident"]["summary"] == incident.summary


async def test_an_override_is_added_listed_and_removed(
    installation: Installation, three_routes: list[str]
):
    relight, store = installation.relight, installation.harness.store
    words = ("--group", "region fake/fake-east", "--owner", "ann", "--until", "2100-01-01")
    done = await relight("breaker", "reset", *words, "--reason", "they closed it")
    assert done.out == "override 1: region fake/fake-east, until 2100-01-01 00:00 UTC\n"
    assert done.err == ""
    [kept] = store.overrides.list()
    assert (kept.owner, kept.reason) == ("ann", "they closed it")
    assert "active" in (await relight("breaker", "list")).out
    assert (await relight("breaker", "remove", "1")).out == "override 1 is removed\n"
    assert (await relight("breaker", "list")).out == "no overrides\n"


async def test_an_override_of_no_group_is_refused_and_of_nobody_s_machines_warned_of(
    installation: Installation,
):
    await installation.refuses(
        2, ("breaker", "reset", "--group", "the moon", "--for", "1h", "-r", "x"), "is no group"
    )
    await installation.refuses(
        2, ("breaker", "reset", "--group", "fleet", "-r", "x"), "say when it ends"
    )
    await installation.refuses(2, ("breaker", "remove", "7"), "there is no override 7")
    done = await installation.relight(
        "breaker", "reset", "--group", "track nobody", "--for", "1h", "-r", "x"
    )
    assert (done.code, "is it spelt right?" in done.said) == (0, True)
