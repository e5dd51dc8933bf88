"""Log lines of activities: each has the attributes of host, route, release and operation."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, cast

import pytest
import structlog
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    UnsandboxedWorkflowRunner,
    Worker,
)

from activities.execution import FaultInterceptor, LogContextInterceptor, attributes_of
from activities.route.routes import RouteActivities
from relight.breaker_evaluation import BreakerEvaluation
from relight.domain.base import Message, Origin
from relight.domain.destruction import DestroyMachineInput, DestructionReason
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.machine import (
    AwaitMachineInput,
    CreateMachineInput,
    Machine,
    MachinePlan,
    MachineStatus,
)
from relight.domain.proof import ProveReleaseInput
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.rollout.records import OpenRolloutInput
from relight.domain.route import RecordFaultInput, SwapRouteInput
from relight.domain.track import DesiredReleaseInput
from relight.hosts.errors import Destination, ProbeFailedError
from relight.store.store import Store
from tests.support.log_lines import logging_as_a_worker

ORIGIN = Origin(requested_by="tester", reason="to see what is logged")
MACHINE = Machine(
    key="de-1-g1",
    provider="lab",
    provider_id="vm-7",
    region="lab-east",
    architecture="amd64",
    status=MachineStatus.RUNNING,
    address="198.18.0.2",
)
RELEASE = Release(
    tag="v0.0.74", version="0.0.74", package="lantern-box", source="apt", deb_files=()
)
PLAN = MachinePlan(
    key="de-1-g2",
    route_id="de-1",
    track="beta",
    provider="lab",
    region="lab-west",
    release_version="0.0.74",
)
PROVE = ProveReleaseInput(machine=MACHINE, release=RELEASE)
ON_THE_HOST = {
    "host.name": "de-1-g1",
    "host.ip": "198.18.0.2",
    "cloud.provider": "lab",
    "cloud.region": "lab-east",
    "release.tag": "v0.0.74",
}
SECONDS = timedelta(seconds=20)


@pytest.mark.parametrize(
    ("input", "attributes"),
    [
        (PROVE, ON_THE_HOST),
        (
            PROVE.model_copy(update={"rollout": "rollout/v0.0.74/fleet"}),
            {**ON_THE_HOST, "rollout.id": "rollout/v0.0.74/fleet"},
        ),
        (
            CreateMachineInput(plan=PLAN, user_data_sha256="00"),
            {
                "host.name": "de-1-g2",
                "route.id": "de-1",
                "track.name": "beta",
                "cloud.provider": "lab",
                "cloud.region": "lab-west",
            },
        ),
        (
            AwaitMachineInput(machine=MACHINE.ref),
            {"host.name": "de-1-g1", "cloud.provider": "lab"},
        ),
        (
            DestroyMachineInput(
                provider="lab",
                key="de-1-g2",
                reason=DestructionReason.ORPHAN,
                origin=ORIGIN,
            ),
            {"host.name": "de-1-g2", "cloud.provider": "lab"},
        ),
        (
            RecordFaultInput(
                route_id="de-1",
                release_tag=None,
                fault=Fault(kind="disk-full", fault_class=FaultClass.HOST, summary="full"),
                origin=ORIGIN,
                machine_key="de-1-g1",
            ),
            {"host.name": "de-1-g1", "route.id": "de-1"},
        ),
        (
            SwapRouteInput(route_id="de-1", release=RELEASE, origin=ORIGIN),
            {"route.id": "de-1", "release.tag": "v0.0.74"},
        ),
        (ResolveReleaseInput(tag="v0.0.74"), {"release.tag": "v0.0.74"}),
        (DesiredReleaseInput(track="beta"), {"track.name": "beta"}),
        (
            OpenRolloutInput(
                rollout_run_id="r", release_tag="v0.0.74", scope="fleet", origin=ORIGIN
            ),
            {"release.tag": "v0.0.74"},
        ),
        (None, {}),
    ],
)
def test_the_attributes_come_from_the_input(
    input: Message | None, attributes: dict[str, str]
) -> None:
    assert attributes_of(input) == attributes


class LoggingActivities:
    """Activities that log in every possible way."""

    @activity.defn
    async def asynchronous(self, input: ProveReleaseInput) -> None:
        structlog.get_logger("test").info("by structlog")
        logging.getLogger("test").info("by %s", "logging")
        activity.logger.info("by the SDK's own")
        await asyncio.to_thread(structlog.get_logger("test").info, "in a thread of its own")

    @activity.defn
    def threaded(self, input: ProveReleaseInput) -> None:
        structlog.get_logger("test").info("in a worker's thread")

    @activity.defn
    async def without_a_host(self, input: DesiredReleaseInput) -> None:
        structlog.get_logger("test").info("about a track")

    @activity.defn
    async def faulty(self, input: ProveReleaseInput) -> None:
        raise ProbeFailedError(
            "503",
            destination=Destination(
                address="198.18.0.2", port=22, user="relight", machine_key="de-1-g1"
            ),
        )

    @activity.defn
    async def with_a_bug(self, input: ProveReleaseInput) -> None:
        raise KeyError("a bug")


@workflow.defn
class RunAll:
    """Runs each activity once."""

    @workflow.run
    async def run(self) -> None:
        workflow.logger.warning("by a workflow")
        for step in (LoggingActivities.asynchronous, LoggingActivities.threaded):
            await self._run(step, PROVE)
        await self._run(LoggingActivities.without_a_host, DesiredReleaseInput(track="beta"))
        for step in (LoggingActivities.faulty, LoggingActivities.with_a_bug):
            with contextlib.suppress(ActivityError):
                await self._run(step, PROVE)

    async def _run(self, step: Any, input: Message) -> None:
        await workflow.execute_activity_method(
            step,
            input,
            start_to_close_timeout=SECONDS,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@pytest.fixture(scope="module")
async def lines(temporal_client: Client) -> AsyncIterator[list[dict[str, Any]]]:
    """The log of a worker that ran each activity once, in the operation of a route."""
    queue, steps = f"log-{uuid.uuid4().hex[:8]}", LoggingActivities()
    with logging_as_a_worker() as logged:
        async with Worker(
            temporal_client,
            task_queue=queue,
            workflows=[RunAll],
            activities=[
                steps.asynchronous,
                steps.threaded,
                steps.without_a_host,
                steps.faulty,
                steps.with_a_bug,
            ],
            activity_executor=ThreadPoolExecutor(max_workers=2),
            workflow_runner=UnsandboxedWorkflowRunner(),
            interceptors=[LogContextInterceptor(quiet=RouteActivities), FaultInterceptor()],
        ):
            # By name: with the class, mypy loses the types of all other workflows.
            await temporal_client.execute_workflow("RunAll", id="route/de-logged", task_queue=queue)
        yield logged()


def the_line(lines: list[dict[str, Any]], event: str) -> dict[str, Any]:
    [line] = [line for line in lines if line["event"] == event]
    return line


def about(line: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a line, which have a dot in their name, without the run id."""
    return {name: line[name] for name in line if "." in name and name != "workflow.run_id"}


@pytest.mark.parametrize(
    ("event", "step"),
    [
        ("by structlog", "asynchronous"),
        ("by logging", "asynchronous"),
        ("by the SDK's own", "asynchronous"),
        ("in a thread of its own", "asynchronous"),
        ("asynchronous done", "asynchronous"),
        ("in a worker's thread", "threaded"),
        ("threaded done", "threaded"),
    ],
)
async def test_every_line_has_all_attributes_however_it_is_written(
    lines: list[dict[str, Any]], event: str, step: str
) -> None:
    line = the_line(lines, event)
    assert about(line) == {
        **ON_THE_HOST,
        "route.id": "de-logged",
        "workflow.id": "route/de-logged",
        "activity.type": step,
        "activity.attempt": 1,
    }
    assert line["workflow.run_id"]
    assert line["level"] == "info"


async def test_work_on_a_host_is_logged_with_its_duration(lines: list[dict[str, Any]]) -> None:
    assert 0 <= the_line(lines, "threaded done")["duration_s"] < 10


async def test_attributes_of_one_activity_are_not_on_the_lines_of_the_next(
    lines: list[dict[str, Any]],
) -> None:
    assert about(the_line(lines, "about a track")) == {
        "track.name": "beta",
        "route.id": "de-logged",
        "workflow.id": "route/de-logged",
        "activity.type": "without_a_host",
        "activity.attempt": 1,
    }


async def test_a_fault_is_one_line_with_all_attributes(lines: list[dict[str, Any]]) -> None:
    [line] = [line for line in lines if line.get("activity.type") == "faulty"]
    assert about(line) == {
        **ON_THE_HOST,
        "error.type": "probe-failed",
        "fault.class": "release",
        "route.id": "de-logged",
        "workflow.id": "route/de-logged",
        "activity.type": "faulty",
        "activity.attempt": 1,
    }
    assert (line["level"], line["retried"]) == ("warning", False)


async def test_a_bug_is_logged_by_the_sdk_with_all_attributes(lines: list[dict[str, Any]]) -> None:
    [line] = [line for line in lines if line.get("activity.type") == "with_a_bug"]
    assert "KeyError: 'a bug'" in line["exception"]
    assert line["event"] == "Completing activity as failed"
    assert about(line).items() >= {**ON_THE_HOST, "route.id": "de-logged"}.items()


async def test_a_line_of_a_workflow_has_the_workflow_and_its_route(
    lines: list[dict[str, Any]],
) -> None:
    line = the_line(lines, "by a workflow")
    assert about(line) == {"workflow.id": "route/de-logged", "route.id": "de-logged"}
    assert line["workflow.run_id"]


class _Done(ActivityInboundInterceptor):
    def __init__(self) -> None:
        """Last in the chain; does nothing."""

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return None


async def level_of(fn: Any, input: Message) -> str:
    """Return the level of the line that says that an activity is done."""

    async def run() -> None:
        chain = LogContextInterceptor(quiet=RouteActivities).intercept_activity(_Done())
        await chain.execute_activity(ExecuteActivityInput(fn, [input], None, {}))

    with structlog.testing.capture_logs() as logged:
        await ActivityEnvironment().run(run)
    [line] = logged
    return str(line["log_level"])


async def test_writes_to_the_store_are_logged_at_debug_level() -> None:
    routes = RouteActivities(cast("Store", None), cast("BreakerEvaluation", None))
    fault = RecordFaultInput(
        route_id="de-1",
        release_tag=None,
        fault=Fault(kind="disk-full", fault_class=FaultClass.HOST, summary="full"),
        origin=ORIGIN,
        machine_key="de-1-g1",
    )
    assert await level_of(routes.record_fault, fault) == "debug"
    assert (
        await level_of(LoggingActivities().without_a_host, DesiredReleaseInput(track="beta"))
        == "debug"
    )
    assert await level_of(LoggingActivities().asynchronous, PROVE) == "info"
