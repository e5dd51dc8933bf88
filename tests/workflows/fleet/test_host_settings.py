"""A host whose settings differ from the declared ones is found and mended by reconcile runs."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from devkit.simulated.parts import HOST_KEY_SECRET
from relight.domain.disruption import DisruptionBudget
from relight.domain.reconcile.plan import ActionKind
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import RouteStatus
from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import File
from relight.hosts.host_settings import HostSettings
from relight.hosts.keys import derive_host_key
from tests.workflows.harness import Harness
from tests.workflows.installation import small_installation
from tests.workflows.reconciler import MOMENT, POLICY, Reconciler, kinds

SETTINGS = HostSettings(
    [
        File(host_program.PROGRAM, "0755", b"#!/bin/sh\n"),
        File(host_program.CONFIGURATION, "0644", b"PACKAGE=lantern-box\n"),
    ]
)


@pytest.fixture
async def harness(temporal_client: Client, tmp_path: Path) -> AsyncIterator[Harness]:
    async with small_installation(temporal_client, tmp_path, host_settings=SETTINGS) as harness:
        yield harness
        await harness.terminate_rest()


@pytest.fixture
def reconciler(harness: Harness, tmp_path: Path) -> Reconciler:
    reconciler = Reconciler(harness, f"sqlite:///{tmp_path / 'fleet.db'}")
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    return reconciler


@pytest.fixture
async def route_ids(harness: Harness) -> list[str]:
    """Three routes whose hosts have the declared settings."""
    route_ids = [await harness.serving_route(region="fake-east") for _ in range(3)]
    for route_id in route_ids:
        harness.hosts.of(route_id).settings = declared(route_id)
    return sorted(route_ids)


def declared(route_id: str) -> str:
    return SETTINGS.sha256(derive_host_key(HOST_KEY_SECRET, f"{route_id}-g1"))


async def test_declared_settings_are_no_drift(harness, reconciler, route_ids):
    harness.hosts.of(route_ids[0]).settings = ""  # a program that is too old to tell
    for _ in range(2):
        assert kinds(await reconciler.run()) == {ActionKind.VERIFY: 3}
    assert harness.events(kind="drift-found") == []


async def test_other_settings_are_written_without_a_change_of_the_package(
    harness, reconciler, route_ids
):
    changed = route_ids[1]
    host = harness.hosts.of(changed)
    host.settings, installs, invocation = "f" * 64, list(host.installs), host.invocation
    found = await reconciler.run()
    assert (found.proven, found.faulted) == (3, 0)
    [event] = harness.events(kind="drift-found")
    assert (event.route_id, event.fault_kind) == (changed, "host-settings-differ")
    assert harness.route(changed).status is RouteStatus.SERVING
    mended = await reconciler.run()
    assert [
        each.route_id for each in mended.observed.plan.actions if each.kind is ActionKind.REPAIR
    ] == [changed]
    assert host.settings == declared(changed)
    assert (host.installs, host.invocation) == (installs, invocation)
    assert harness.route(changed).status is RouteStatus.SERVING
    assert kinds(await reconciler.run()) == {ActionKind.VERIFY: 3}
    assert len(harness.events(kind="drift-found")) == 1


async def test_after_an_upgrade_all_hosts_get_the_new_program_within_the_budget(
    harness, reconciler, route_ids
):
    for route_id in route_ids:
        harness.hosts.of(route_id).settings = "e" * 64
    budget = Strategy(disruption_budget=DisruptionBudget(region="1"))
    reconciler.policy = reconciler.policy.model_copy(update={"strategy": budget})
    repaired: Counter[str] = Counter()
    assert (await reconciler.run()).proven == 3
    for _ in route_ids:
        done = await reconciler.run()
        assert kinds(done)[ActionKind.REPAIR] == 1
        repaired.update(
            each.route_id
            for each in done.observed.plan.actions
            if each.kind is ActionKind.REPAIR and each.route_id is not None
        )
    assert repaired == Counter(route_ids)
    assert [harness.hosts.of(each).settings for each in route_ids] == list(map(declared, route_ids))
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}
