"""Every log line that is written while an activity runs says what it is about."""

import logging
import time
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import structlog
from temporalio import activity
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from activities.route.routes import RouteActivities
from relight.engine import logs

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.activities")

_WHERE: Mapping[str, tuple[str, ...]] = {
    logs.HOST: ("machine.key", "plan.key", "machine_key", "key"),
    logs.ADDRESS: ("machine.address",),
    logs.ROUTE: ("route_id", "plan.route_id"),
    logs.TRACK: ("track", "plan.track"),
    logs.PROVIDER: ("provider", "plan.provider", "machine.provider"),
    logs.REGION: ("region", "plan.region", "machine.region"),
    logs.RELEASE: ("release_tag", "release.tag", "proof.release_tag", "tag"),
    logs.ROLLOUT: ("rollout",),
}
"""Where the activities' inputs have what a line is about; the first that is there counts."""


def names_of(asked: object) -> dict[str, str]:
    """Return what an activity's input says that it is about."""
    names = {}
    for name, paths in _WHERE.items():
        values = (_at(path, asked) for path in paths)
        value = next((each for each in values if isinstance(each, str)), None)
        if value is not None:
            names[name] = value
    return names


def _at(path: str, asked: object) -> object:
    try:
        return attrgetter(path)(asked)
    except AttributeError:
        return None


class _Named(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info, began = activity.info(), time.monotonic()
        about = names_of(input.args[0] if input.args else None)
        # Not bound for a block alone: the SDK tells of a failure after all interceptors. The
        # activity's task, and with it this context, ends then; a thread has a copy of it.
        structlog.contextvars.bind_contextvars(
            **{
                **logs.workflow_names(info.workflow_id, info.workflow_run_id),
                **about,
                logs.ACTIVITY: info.activity_type,
                logs.ATTEMPT: info.attempt,
            }
        )
        result = await self.next.execute_activity(input)
        log.log(
            logging.INFO if _is_work_on_a_host(input, about) else logging.DEBUG,
            f"{info.activity_type} done",
            duration_s=round(time.monotonic() - began, 3),
        )
        return result


def _is_work_on_a_host(input: ExecuteActivityInput, about: Mapping[str, str]) -> bool:
    """Tell what an operator follows a host by from what only the store is told of it."""
    keeps_books = isinstance(getattr(input.fn, "__self__", None), RouteActivities)
    return logs.HOST in about and not keeps_books


class LogContextInterceptor(Interceptor):
    """Names host, route, release and operation in the log, and says when work on a host is done.

    It stands outside the interceptor of faults, whose lines are to have these names too.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _Named(next)
