"""Whether a machine that locks the control plane out is the only one."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from relight.domain.base import Origin
from relight.domain.destruction import EvaluateBreakerInput
from relight.domain.reconcile.run import VerifyRoutesInput
from workflows.fleet.steps import ObservationActivities, VerificationActivities


class LockedOutQuestion:
    """Asks `many_are_locked_out` once for all routes that fail at the same time."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._asked: asyncio.Task[bool] | None = None

    async def ask(self) -> bool:
        """Return whether many machines lock us out. False if that cannot be found out.

        Who comes while the question runs takes its yes. A no may be older than the failure, so the
        question is then asked once more, for all who came meanwhile.
        """
        running = self._asked
        if running is not None and not running.done() and await running:
            return True
        if self._asked is running:
            self._asked = asyncio.create_task(self._answer())
        assert self._asked is not None
        return await self._asked

    async def _answer(self) -> bool:
        try:
            return await many_are_locked_out(self._origin)
        except FailureError as error:
            workflow.logger.warning("whether machines lock us out is unknown: %s", error)
            return False


async def many_are_locked_out(origin: Origin) -> bool:
    """Evaluate the breaker, and return whether it is open because machines lock us out.

    What it does not know of other machines is observed first, so that the first refusal of a wave
    is told apart from a key that is wrong everywhere.
    """
    evaluate = EvaluateBreakerInput(origin=origin)
    evaluated = await ObservationActivities.evaluate_breaker(evaluate)
    if not evaluated.locks_out and evaluated.to_verify:
        await VerificationActivities.verify_routes(
            VerifyRoutesInput(routes=evaluated.to_verify, origin=origin)
        )
        evaluated = await ObservationActivities.evaluate_breaker(evaluate)
    return evaluated.locks_out
