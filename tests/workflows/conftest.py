"""Installations, each for one test."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities import policies
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.engine.step import Policy
from tests.store.databases import use_fast_sqlite
from tests.support.time_skipping import time_skipping_client
from tests.workflows.harness import LIMITS, Harness
from tests.workflows.installation import small_installation
from tests.workflows.reconciler import Reconciler

use_fast_sqlite()

RETRY_AFTER = timedelta(milliseconds=50)
HEARTBEAT_EVERY = timedelta(milliseconds=200)
WAITS = {
    "activities.machine.polls.POLL": timedelta(milliseconds=10),
    "activities.machine.first_boot.POLL": timedelta(milliseconds=10),
    "activities.fleet.verification.PAUSE": timedelta(milliseconds=10),
    "workflows.rollout.preparation.CLAIM_PAUSE": timedelta(milliseconds=200),
    "workflows.rollout.incident.FIRST_INCIDENT_PAUSE": timedelta(milliseconds=200),
    "workflows.shield.FIRST_PAUSE": timedelta(milliseconds=100),
    "workflows.shield.MAX_PAUSE": timedelta(milliseconds=400),
}


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten polls and pauses, and the wait before the first retry of each activity."""
    for policy in vars(policies).values():
        if isinstance(policy, Policy):
            monkeypatch.setattr(policy.retry, "initial_interval", RETRY_AFTER)
    for name, wait in WAITS.items():
        monkeypatch.setattr(name, wait)
    # A running activity learns of its cancellation by its next heartbeat.
    monkeypatch.setattr("activities.execution.HEARTBEAT_INTERVAL", HEARTBEAT_EVERY)
    monkeypatch.setattr("worker.MAX_HEARTBEAT_INTERVAL", HEARTBEAT_EVERY)


@pytest.fixture
async def harness(
    temporal_client: Client, tmp_path: Path, short_waits: None
) -> AsyncIterator[Harness]:
    """On the server that `relight up` starts."""
    async with small_installation(temporal_client, tmp_path) as harness:
        yield harness


@pytest.fixture
async def roomy_harness(
    temporal_client: Client, tmp_path: Path, short_waits: None
) -> AsyncIterator[Harness]:
    """An installation for many cells at once.

    No limit holds for all cells together; those of providers, regions and tracks are the usual
    ones.
    """
    usual = ReconcilePolicy()
    async with small_installation(
        temporal_client,
        tmp_path,
        limits=LIMITS.model_copy(update={"destroyed_per_hour": 1000}),
        policy=usual.model_copy(
            update={"strategy": usual.strategy.model_copy(update={"max_concurrent": 1000})}
        ),
    ) as harness:
        yield harness


@pytest.fixture(scope="session")
async def skipping_client() -> AsyncIterator[Client]:
    async with time_skipping_client() as client:
        yield client


@pytest.fixture
async def skipping_harness(skipping_client: Client, tmp_path: Path) -> AsyncIterator[Harness]:
    """On the server that skips time: waits of minutes take no time, so none is shortened."""
    async with small_installation(skipping_client, tmp_path) as harness:
        yield harness


@pytest.fixture
def impatient_destruction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat a destruction that the provider accepted, but did not do, after half a second."""
    monkeypatch.setattr(
        "activities.machine.destruction.REPEAT_DESTROY_AFTER", timedelta(milliseconds=500)
    )


@pytest.fixture
def reconciler(harness: Harness, tmp_path: Path) -> Reconciler:
    return Reconciler(harness, f"sqlite:///{tmp_path / 'fleet.db'}")


@pytest.fixture
async def route_ids(harness: Harness) -> list[str]:
    """Four routes that serve v0.0.73, in two regions."""
    regions = ("fake-east", "fake-east", "fake-west", "fake-west")
    ids = sorted(harness.new_route_id() for _ in regions)
    await asyncio.gather(
        *(
            harness.serving_route(route_id=route_id, region=region)
            for route_id, region in zip(ids, regions, strict=True)
        )
    )
    return ids
