"""A region's pool, as tests keep it."""

from datetime import UTC, datetime, timedelta

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.breaker.breaker import Breaker, BreakerIncident
from relight.domain.pool.keep import KeepPoolInput, PoolKept
from relight.domain.pool.pool import pool_workflow_id
from starter.local.children import wait_until
from tests.workflows.harness import ORIGIN, Harness
from workflows.fleet.pool import KeepPool

REGION = "fake-east"


async def keep_pool(harness: Harness, size: int | None = None) -> PoolKept:
    """Run KeepPool on the region's pool, with another size if one is given."""
    provider = harness.cloud.name
    if size is not None:
        harness.store.pool_sizes.set(provider, REGION, size, harness.operation())
    await until_pool_is_kept(harness)
    return await harness.client.execute_workflow(
        KeepPool.run,
        KeepPoolInput(provider=provider, region=REGION, origin=ORIGIN),
        id=pool_workflow_id(provider, REGION),
        task_queue=harness.task_queue,
    )


async def until_pool_is_kept(harness: Harness) -> None:
    """Wait until no KeepPool runs on the region's pool."""
    pool = harness.client.get_workflow_handle(pool_workflow_id(harness.cloud.name, REGION))

    async def ended() -> bool:
        try:
            return (await pool.describe()).status is not WorkflowExecutionStatus.RUNNING
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND

    await wait_until(ended, timedelta(seconds=30))


def open_breaker(harness: Harness) -> None:
    now = datetime.now(UTC)
    incident = BreakerIncident(opened_at=now, last_observed_at=now, summary="a region is out")
    harness.store.breaker.update(lambda _: Breaker(incident=incident), harness.operation())


def close_breaker(harness: Harness) -> None:
    harness.store.breaker.update(lambda _: Breaker(), harness.operation())
