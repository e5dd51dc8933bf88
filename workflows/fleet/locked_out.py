"""Whether a machine that keeps the control plane out is the only one."""

from relight.domain.base import Origin
from relight.domain.destruction import EvaluateBreakerInput
from relight.domain.reconcile.run import VerifyRoutesInput
from workflows.fleet.steps import ObservationActivities, VerificationActivities


async def many_are_locked_out(origin: Origin) -> bool:
    """Evaluate the breaker, and return whether it is open because machines keep us out.

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
