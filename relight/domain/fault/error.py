"""The base of every error with a cause outside of the program. Any other error is a bug."""

from datetime import timedelta

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.rule import Rule
from relight.domain.fault.table import RULES
from relight.domain.text import MAX_TEXT_BYTES, visible_head


class DomainError(Exception):
    """An operation failed for an external reason.

    Its text often repeats what others wrote, so it is made visible and cut.

    Attributes:
        kind: the kind of fault, by its name in the table of faults.
        retry_after: how long its cause asks to wait before a retry; None if it does not say.
    """

    kind: str
    retry_after: timedelta | None = None

    def __init__(self, text: str = "") -> None:
        super().__init__(visible_head(text, MAX_TEXT_BYTES))

    @property
    def rule(self) -> Rule:
        """The rule for its kind in the table of faults."""
        return RULES[self.kind]

    @property
    def fault_class(self) -> FaultClass:
        """The class of the fault."""
        return self.rule.fault_class

    @property
    def retryable(self) -> bool:
        """Whether a retry may help."""
        return self.rule.retried
