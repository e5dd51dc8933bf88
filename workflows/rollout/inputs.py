"""The JSON that the updates and signals of rollouts take: their descriptions show it."""

from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast

from temporalio import workflow
from temporalio.workflow import UpdateMethodMultiParam

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")

_ORIGIN = '"origin": {"requested_by": "alice", "reason": "odd graphs"}'

CONTROL = f"Input: {{{_ORIGIN}}}"
"""Who does it, and why: both go to the event log."""

SKIP = f'Input: {{"route_id": "eu-1", {_ORIGIN}}}'
CONCURRENCY = f'Input: {{"max_concurrent": 20, {_ORIGIN}}}'
ROLLOUT = f'Input: {{"release_tag": "v0.0.75", "scope": "fleet", {_ORIGIN}}}'
NEEDS_PERSON = 'Input: {"reason": "an incident has lasted for an hour"}'
CONTROLS = 'Input: {"paused": true, "max_concurrent": 20}'
NOTHING = "Input: none."


def described_update(
    description: str,
) -> Callable[
    [Callable[Parameters, Awaitable[Answer]]], UpdateMethodMultiParam[Parameters, Answer]
]:
    """Return the decorator of an update with a description.

    The SDK's own type of it takes the coroutine of the handler for its result.
    """
    described: Any = workflow.update(description=description)
    return cast(
        "Callable[[Callable[Parameters, Awaitable[Answer]]],"
        " UpdateMethodMultiParam[Parameters, Answer]]",
        described,
    )
