"""Whether a rollout may go on."""

from collections.abc import Iterable

from messages.base import Message
from messages.faults import Fault, FaultClass

BUDGETED = frozenset({FaultClass.HOST, FaultClass.RELEASE})
"""Faults that say something about the release: the others are ours, and blame no host."""


class Verdict(Message):
    """A gate's answer.

    Attributes:
        go_on: promote to what is left.
        reason: one sentence for a person.
    """

    go_on: bool
    reason: str


def judge(faults: Iterable[Fault], failure_budget: int) -> Verdict:
    """Say whether the faults so far leave a rollout within its failure budget.

    Repository, provider and controller faults spend no budget, but nobody can prove anything
    while they last: a rollout that meets one stops too, and says so without blaming a host.
    """
    seen = list(faults)
    spent = [fault for fault in seen if fault.fault_class in BUDGETED]
    if len(spent) > failure_budget:
        kinds = ", ".join(sorted({fault.kind for fault in spent}))
        return Verdict(
            go_on=False,
            reason=f"{len(spent)} failed ({kinds}), the failure budget is {failure_budget}",
        )
    ours = [fault for fault in seen if fault.fault_class not in BUDGETED]
    if ours:
        first = ours[0]
        return Verdict(
            go_on=False,
            reason=f"{first.fault_class} fault, which no host is to blame for: {first.summary}",
        )
    return Verdict(go_on=True, reason=f"{len(spent)} failed of a budget of {failure_budget}")
