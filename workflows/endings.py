"""Results of workflows that end as failed, so that nobody takes them for done in the Temporal UI.

A workflow that did what it could and did not reach what it was started for fails with the reason.
The failure carries its result.
"""

from collections.abc import Awaitable
from enum import StrEnum
from typing import TypeVar

from temporalio.exceptions import ApplicationError, TemporalError

from relight.domain.base import Message

R = TypeVar("R", bound=Message)


class Unreached(StrEnum):
    """The types of failures that carry the result of a workflow."""

    ROLLOUT_STOPPED = "rollout-stopped"
    ROLLOUT_ABORTED = "rollout-aborted"
    ROTATION_UNFINISHED = "rotation-unfinished"
    IMAGE_MISSING = "image-missing"


def unreached(kind: Unreached, reason: str, result: Message) -> ApplicationError:
    """Return the error that ends a workflow with its result. It is never retried.

    Args:
        kind: its type.
        reason: what was not reached, and why: its message.
        result: what the workflow would return otherwise.
    """
    return ApplicationError(reason, result.model_dump(mode="json"), type=kind, non_retryable=True)


async def result_of(ending: Awaitable[R], model: type[R]) -> R:
    """Return the result of a workflow, also of one that failed with it.

    Args:
        ending: returns or raises what the workflow ended with.
        model: of the result.

    Raises:
        TemporalError: it failed without a result.
    """
    try:
        return await ending
    except TemporalError as error:
        failure = error.__cause__
        if isinstance(failure, ApplicationError) and failure.type in set(Unreached):
            return model.model_validate(failure.details[0])
        raise
