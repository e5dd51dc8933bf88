"""The base of every error that the world outside may bring; anything else is a bug of ours."""

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES, Rule


class DomainError(Exception):
    """Something outside did not go as it should.

    Attributes:
        kind: which fault it is, by its name in the table of faults.
    """

    kind: str

    @property
    def rule(self) -> Rule:
        """What the table of faults says of it."""
        return RULES[self.kind]

    @property
    def fault_class(self) -> FaultClass:
        """At whose door it lies."""
        return self.rule.fault_class

    @property
    def retryable(self) -> bool:
        """Whether trying the same again may help."""
        return self.rule.retried
