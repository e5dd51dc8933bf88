"""Operations of a chaos run: running one to its end, and the results of all of them."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from devkit.chaos.environment import ChaosEnvironment
from relight.domain.base import Origin
from relight.domain.names import RouteId
from relight.domain.route import Route

ORIGIN = Origin(requested_by="chaos", reason="chaos test")
BEFORE, AFTER = "v0.0.73", "v0.0.74"

RETRY_INTERVAL = timedelta(milliseconds=200)

_DPKG_STATE = "dpkg-query --show --showformat '${db:Status-Abbrev}|${Version}' lantern-box"


@dataclass
class Results:
    """The results of all operations.

    Attributes:
        done: successful operations, counted by what they did.
        faulted: failed operations, counted by fault kind.
        violations: what must never happen, one line each.
    """

    done: Counter[str] = field(default_factory=Counter)
    faulted: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


async def run_once(
    environment: ChaosEnvironment, workflow: Any, input: object, workflow_id: str
) -> Any:
    """Start a workflow exactly once and return its result, although the server may be killed.

    Raises:
        WorkflowFailureError: the workflow failed.
    """
    started = False
    while True:
        try:
            assert environment.client is not None
            if not started:
                await environment.client.start_workflow(
                    workflow, input, id=workflow_id, task_queue=environment.settings.task_queue
                )
                started = True
            return await environment.client.get_workflow_handle_for(workflow, workflow_id).result()
        except WorkflowAlreadyStartedError:
            started = True  # the reply to our start was lost
        except (RPCError, RuntimeError):  # the server is down, or the client is of the old server
            await asyncio.sleep(RETRY_INTERVAL.total_seconds())


def route_record(environment: ChaosEnvironment, route_id: RouteId) -> Route:
    """Return the store's record of a route."""
    route = environment.store.routes.get(route_id)
    assert route is not None
    return route


async def dpkg_state(environment: ChaosEnvironment, machine_id: str) -> str:
    """Return dpkg's status and version of the package on a host, such as `ii |0.0.74`."""
    return (await environment.on_host(machine_id, _DPKG_STATE)).strip()


def expected_dpkg_state(release_tag: str) -> str:
    """Return the dpkg state of a host with this release."""
    return f"ii |{release_tag.removeprefix('v')}"
