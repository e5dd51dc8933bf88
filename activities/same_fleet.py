"""No activity runs for another fleet, even if another server answers at Temporal's address.

A worker checks at its start that its store and its Temporal are of one fleet. Afterwards the server
may end, and one of another fleet may start at its address: the client connects to it by itself.

So each activity is preceded by a check, which is one request. A check of the last second does:
under load it costs a worker one request a second.

Before an activity whose effect is lasting (`relight.engine.step.step`) that is not enough: it must
be our server that gave the task. The task's token says so, since a server writes the id of its
namespace into it, which no other server has. A token without it says nothing, as tokens may have
another form one day: then the check has to begin after the task has arrived.

Not taken: a header with the fleet's id, which clients set and workflows pass on to activities. It
costs no request, but schedules, child workflows, continued runs and what a person starts in the
Temporal UI would each need it too, and one without it would be refused for good.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from relight.engine.errors import WrongFleetError
from relight.engine.fleet import require_namespace_of, require_same_fleet
from relight.engine.step import is_lasting
from relight.store.store import Store

FRESH = timedelta(seconds=1)
"""How long a check holds for activities whose effect is not lasting."""


async def same_fleet_interceptor(
    client: Client, store: Store, on_other_fleet: Callable[[], None]
) -> "SameFleetInterceptor":
    """Check that a store and a client's namespace are of one fleet; return what keeps checking it.

    Raises:
        WrongFleetError: they are not.
        TemporalNotPreparedError: there is no such namespace, or it may not be described.
    """
    identity = await require_same_fleet(client, store)
    return SameFleetInterceptor(
        partial(require_namespace_of, client, store, identity),
        on_other_fleet,
        identity.namespace_id,
    )


class SameFleetInterceptor(Interceptor):
    """Checks before each activity; ends the worker once Temporal is of another fleet.

    Attributes:
        error: why the worker must end; None while all is well.
    """

    def __init__(
        self,
        check: Callable[[], Awaitable[None]],
        on_other_fleet: Callable[[], None],
        namespace_id: str | None,
    ) -> None:
        """Begin with a check at the first activity.

        Args:
            check: raises `WrongFleetError` if Temporal is of another fleet now.
            on_other_fleet: called once it is.
            namespace_id: of the fleet's namespace; None if the store does not know it.
        """
        self.error: WrongFleetError | None = None
        self._check = check
        self._on_other_fleet = on_other_fleet
        # The first field of a token is its namespace's id: a protocol buffer's tag, size and text.
        self._token_begins = b"\x0a\x24" + namespace_id.encode() if namespace_id else None
        self._lock = asyncio.Lock()
        self._checked_at: float | None = None

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _SameFleet(next, self)

    def gave(self, task_token: bytes) -> bool:
        """Return whether the fleet's own namespace gave a task for certain."""
        return self._token_begins is not None and task_token.startswith(self._token_begins)

    async def require_same_fleet(self, *, from_now: bool) -> None:
        """Check, unless an earlier check holds. Activities that arrive during one share the next.

        Args:
            from_now: whether only a check counts that begins from now on.

        Raises:
            ApplicationError: Temporal is of another fleet. It is retryable: the task is that
                fleet's, and its own worker takes the next attempt.
        """
        arrived = time.monotonic()
        since = arrived if from_now else arrived - FRESH.total_seconds()
        async with self._lock:
            if self._checked_at is not None and self._checked_at >= since:
                return
            began = time.monotonic()
            try:
                await self._check()
            except WrongFleetError as error:
                self.error = error
                self._on_other_fleet()
                raise ApplicationError(str(error), type="wrong-fleet") from error
            self._checked_at = began


class _SameFleet(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, fleet: SameFleetInterceptor) -> None:
        super().__init__(next)
        self._fleet = fleet

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        is_certain = self._fleet.gave(activity.info().task_token)
        await self._fleet.require_same_fleet(from_now=is_lasting(input.fn) and not is_certain)
        return await self.next.execute_activity(input)
