"""Reconcile runs over an installation."""

from collections import Counter
from datetime import timedelta

from temporalio.client import WorkflowExecutionStatus

from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.names import rollout_workflow_id, route_workflow_id
from relight.domain.pool.pool import pool_workflow_id
from relight.domain.reconcile.plan import ActionKind, ReconcilePolicy
from relight.domain.reconcile.run import (
    RECONCILE_WORKFLOW_ID,
    ReconcileFleetInput,
    ReconcileRun,
)
from relight.domain.remediation import ReplacementPolicy
from starter.local.children import wait_until
from tests.store.sql import execute
from tests.workflows.harness import ORIGIN, Harness
from workflows.fleet.reconcile import ReconcileFleet

AT_ONCE = timedelta(0)
MOMENT = timedelta(microseconds=1)
POLICY = ReconcilePolicy(
    drift="50%",
    replacement=ReplacementPolicy(verify_after=AT_ONCE, repair_after=AT_ONCE),
)
LIMITS = BreakerLimits(calm_for=AT_ONCE, spared_for=MOMENT)


class Reconciler:
    """Runs reconciles.

    Attributes:
        policy: of the next runs.
        limits: of the breaker in the next runs.
        grace: how old a mismatch must be before the next runs sweep it.
    """

    def __init__(self, harness: Harness, store_url: str) -> None:
        self.harness = harness
        self._store_url = store_url
        self.policy, self.limits = POLICY, LIMITS
        self.grace = timedelta(hours=1)

    async def dry_run(self) -> ReconcileRun:
        return await self.start(f"reconcile/dry-run/{self.harness.new_route_id()}", dry_run=True)

    async def run(self) -> ReconcileRun:
        """Run once, and wait until all that the run started has ended."""
        done = await self.start(RECONCILE_WORKFLOW_ID)
        assert done.observed is not None
        for action in done.observed.plan.actions:
            if action.kind is ActionKind.START_ROLLOUT:
                assert action.release_tag is not None
                assert action.scope is not None
                await self._until_ended(rollout_workflow_id(action.release_tag, action.scope))
            elif action.route_id is not None and action.kind is not ActionKind.VERIFY:
                await self._until_ended(route_workflow_id(action.route_id))
            elif action.pool is not None:
                await self._until_ended(pool_workflow_id(action.pool.provider, action.pool.region))
            elif action.sweep is not None and action.sweep.key:
                await self._until_ended(done.observed.locks[action.sweep.key])
        await self.harness.until_idle()
        return done

    async def start(self, workflow_id: str, *, dry_run: bool = False) -> ReconcileRun:
        """Run once under a workflow id."""
        return await self.harness.client.execute_workflow(
            ReconcileFleet.run,
            ReconcileFleetInput(
                origin=ORIGIN,
                policy=self.policy,
                limits=self.limits,
                grace=self.grace,
                dry_run=dry_run,
            ),
            id=workflow_id,
            task_queue=self.harness.task_queue,
        )

    async def _until_ended(self, workflow_id: str) -> None:
        async def ended() -> bool:
            described = await self.harness.client.get_workflow_handle(workflow_id).describe()
            return described.status is not WorkflowExecutionStatus.RUNNING

        await wait_until(ended, timedelta(seconds=30))

    def execute_sql(self, statement: str) -> None:
        execute(self._store_url, statement)


def kinds(done: ReconcileRun) -> Counter[ActionKind]:
    assert done.observed is not None
    return Counter(action.kind for action in done.observed.plan.actions)


def left_alone(done: ReconcileRun) -> dict[str, str]:
    """Return the reason of each thing that the plan leaves alone, by its name."""
    assert done.observed is not None
    return {each.about: each.reason for each in done.observed.plan.left_alone}
