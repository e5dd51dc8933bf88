"""Log lines of activities: each says which host, route, release and operation it is about."""

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

from activities.faults import FaultInterceptor
from activities.log_context import LogContextInterceptor, names_of
from activities.route.routes import RouteActivities
from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.machine import (
    AwaitMachineInput,
    CreateMachineInput,
    DestroyMachineInput,
    Machine,
    MachinePlan,
    MachineStatus,
)
from relight.domain.proof import ProveReleaseInput
from relight.domain.release import (
    DesiredReleaseInput,
    Release,
    ResolveReleaseInput,
)
from relight.domain.rollout.rollout import OpenRolloutInput
from relight.domain.route import RecordFaultInput, SetTargetInput
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
    ("asked", "names"),
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
            DestroyMachineInput(provider="lab", key="de-1-g2"),
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
            SetTargetInput(route_id="de-1", release_tag="v0.0.74", origin=ORIGIN),
            {"route.id": "de-1", "release.tag": "v0.0.74"},
        ),
        (ResolveReleaseInput(tag="v0.0.74"), {"release.tag": "v0.0.74"}),
        (DesiredReleaseInput(track="beta"), {"track.name": "beta"}),
        (
            OpenRolloutInput(release_tag="v0.0.74", scope="fleet", origin=ORIGIN),
            {"release.tag": "v0.0.74"},
        ),
        (None, {}),
    ],
)
def test_an_input_says_what_it_is_about(asked: Message | None, names: dict[str, str]) -> None:
    assert names_of(asked) == names


class Stepping:
    """Activities that log in every way there is."""

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
class Steps:
    """Each, once."""

    @workflow.run
    async def run(self) -> None:
        workflow.logger.warning("by a workflow")
        for step in (Stepping.asynchronous, Stepping.threaded):
            await self._do(step, PROVE)
        await self._do(Stepping.without_a_host, DesiredReleaseInput(track="beta"))
        for step in (Stepping.faulty, Stepping.with_a_bug):
            with contextlib.suppress(ActivityError):
                await self._do(step, PROVE)

    async def _do(self, step: Any, asked: Message) -> None:
        await workflow.execute_activity_method(
            step,
            asked,
            start_to_close_timeout=SECONDS,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@pytest.fixture(scope="module")
async def lines(temporal_client: Client) -> AsyncIterator[list[dict[str, Any]]]:
    """What a worker logged that ran each step once, as the operation of a route."""
    queue, steps = f"log-{uuid.uuid4().hex[:8]}", Stepping()
    with logging_as_a_worker() as logged:
        async with Worker(
            temporal_client,
            task_queue=queue,
            workflows=[Steps],
            activities=[
                steps.asynchronous,
                steps.threaded,
                steps.without_a_host,
                steps.faulty,
                steps.with_a_bug,
            ],
            activity_executor=ThreadPoolExecutor(max_workers=2),
            workflow_runner=UnsandboxedWorkflowRunner(),
            interceptors=[LogContextInterceptor(), FaultInterceptor()],
        ):
            # By its name: to be told its type here makes mypy doubt that of every other workflow.
            await temporal_client.execute_workflow("Steps", id="route/de-logged", task_queue=queue)
        yield logged()


def the_line(lines: list[dict[str, Any]], event: str) -> dict[str, Any]:
    [line] = [line for line in lines if line["event"] == event]
    return line


def about(line: dict[str, Any]) -> dict[str, Any]:
    """What a line is about: the names with a dot, but for what each run has anew."""
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
async def test_whoever_writes_a_line_and_however_it_has_all_names(
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


async def test_what_is_done_on_a_host_says_how_long_it_took(lines: list[dict[str, Any]]) -> None:
    assert 0 <= the_line(lines, "threaded done")["duration_s"] < 10


async def test_a_name_of_one_activity_is_not_on_the_lines_of_the_next(
    lines: list[dict[str, Any]],
) -> None:
    assert about(the_line(lines, "about a track")) == {
        "track.name": "beta",
        "route.id": "de-logged",
        "workflow.id": "route/de-logged",
        "activity.type": "without_a_host",
        "activity.attempt": 1,
    }


async def test_a_fault_is_one_line_with_all_names(lines: list[dict[str, Any]]) -> None:
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


async def test_a_bug_is_told_by_the_sdk_with_all_names(lines: list[dict[str, Any]]) -> None:
    [line] = [line for line in lines if line.get("activity.type") == "with_a_bug"]
    assert "KeyError: 'a bug'" in line["exception"]
    assert line["event"] == "Completing activity as failed"
    assert about(line).items() >= {**ON_THE_HOST, "route.id": "de-logged"}.items()


async def test_a_workflows_own_line_names_it_and_its_route(lines: list[dict[str, Any]]) -> None:
    line = the_line(lines, "by a workflow")
    assert about(line) == {"workflow.id": "route/de-logged", "route.id": "de-logged"}
    assert line["workflow.run_id"]


class _Done(ActivityInboundInterceptor):
    def __init__(self) -> None:
        """The end of a chain: nothing is done."""

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return None


async def level_of(fn: Any, asked: Message) -> str:
    """Return the level at which it is logged that an activity is done."""

    async def run() -> None:
        chain = LogContextInterceptor().intercept_activity(_Done())
        await chain.execute_activity(ExecuteActivityInput(fn, [asked], None, {}))

    with structlog.testing.capture_logs() as logged:
        await ActivityEnvironment().run(run)
    [line] = logged
    return str(line["log_level"])


async def test_what_only_the_store_is_told_is_quiet() -> None:
    fleet = RouteActivities(cast("Store", None))
    told = RecordFaultInput(
        route_id="de-1",
        release_tag=None,
        fault=Fault(kind="disk-full", fault_class=FaultClass.HOST, summary="full"),
        origin=ORIGIN,
        machine_key="de-1-g1",
    )
    assert await level_of(fleet.record_fault, told) == "debug"
    assert await level_of(Stepping().without_a_host, DesiredReleaseInput(track="beta")) == "debug"
    assert await level_of(Stepping().asynchronous, PROVE) == "info"
