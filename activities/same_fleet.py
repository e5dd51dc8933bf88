"""No activity runs for another fleet, even if another server answers at Temporal's address.

A worker checks at its start that its store and its Temporal are of one fleet. Afterwards the server
may end, and one of another fleet may start at its address: the client connects to it by itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from relight.engine.errors import WrongFleetError
from relight.engine.fleet import require_namespace_of, require_same_fleet
from relight.store.store import Store

FRESH = timedelta(seconds=1)
"""How long a check holds. A server of another fleet takes longer to start and to give work."""


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
        partial(require_namespace_of, client, store, identity), on_other_fleet
    )


class SameFleetInterceptor(Interceptor):
    """Checks before each activity, with one request per second at most; ends the worker otherwise.

    Attributes:
        error: why the worker must end; None while all is well.
    """

    def __init__(
        self, check: Callable[[], Awaitable[None]], on_other_fleet: Callable[[], None]
    ) -> None:
        """Begin with a check at the first activity.

        Args:
            check: raises `WrongFleetError` if Temporal is of another fleet now.
            on_other_fleet: called once it is.
        """
        self.error: WrongFleetError | None = None
        self._check = check
        self._on_other_fleet = on_other_fleet
        self._lock = asyncio.Lock()
        self._checked_at: float | None = None

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _SameFleet(next, self)

    async def require_same_fleet(self) -> None:
        """Check, unless the last check is fresh.

        Raises:
            ApplicationError: Temporal is of another fleet. It is retryable: the task is that
                fleet's, and its own worker takes the next attempt.
        """
        async with self._lock:
            now = time.monotonic()
            if self._checked_at is not None and now - self._checked_at < FRESH.total_seconds():
                return
            try:
                await self._check()
            except WrongFleetError as error:
                self.error = error
                self._on_other_fleet()
                raise ApplicationError(str(error), type="wrong-fleet") from error
            self._checked_at = now


class _SameFleet(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, fleet: SameFleetInterceptor) -> None:
        super().__init__(next)
        self._fleet = fleet

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        await self._fleet.require_same_fleet()
        return await self.next.execute_activity(input)
