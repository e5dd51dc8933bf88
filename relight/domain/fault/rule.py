"""Rules: what follows from a kind of fault."""

from enum import StrEnum
from typing import NamedTuple

from relight.domain.fault.fault import FaultClass


class Remedy(StrEnum):
    """What a fault needs after the step's own retries have failed.

    `repair`: the next operation on the host repairs what it finds. `roll back`: bring the route
    back to its last proven release. `replace`: another machine for the route. `wait`: no host is to
    blame; continue when the cause is gone. `ask`: a person has to decide. `none`: nothing was
    changed, or nothing needs a repair.
    """

    REPAIR = "repair"
    ROLL_BACK = "roll back"
    REPLACE = "replace"
    WAIT = "wait"
    ASK = "ask"
    NONE = "none"


class RolloutEffect(StrEnum):
    """What a fault of a route does to the rollout that works on it.

    `held`: it is an incident: the route is requeued, and the rollout waits until a route succeeds.
    `skipped`: the route is left as it is. `failed`: the route failed; that spends the failure
    budget.
    """

    HELD = "held"
    SKIPPED = "skipped"
    FAILED = "failed"


class Rule(NamedTuple):
    """What follows from a kind of fault.

    Attributes:
        fault_class: the part that is to blame.
        retried: whether the step is retried first, under its own policy.
        remedy: what it needs after that.
        meaning: what happened, for an operator.
        advice: what to do or to check.
        locks_out: the host answered, but the control plane may not work there. On one host that is
            its fault; on many at once it is the control plane's (a key, a secret, a sudo rule).
    """

    fault_class: FaultClass
    retried: bool
    remedy: Remedy
    meaning: str
    advice: str
    locks_out: bool = False

    @property
    def in_rollout(self) -> RolloutEffect:
        """What the fault does to a rollout: only what waiting cures holds it."""
        if self.remedy is Remedy.WAIT:
            return RolloutEffect.HELD
        return RolloutEffect.SKIPPED if self.is_refusal else RolloutEffect.FAILED

    @property
    def is_refusal(self) -> bool:
        """Whether the request cannot be fulfilled in the current state, and nothing was changed."""
        return self.remedy is Remedy.NONE
