"""What came of it all."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Verdicts:
    """What came of all operations.

    Attributes:
        done: how many ended well, by what they are.
        faulted: how many ended with a fault, by its kind.
        wrong: what must not be, in words.
    """

    done: Counter[str] = field(default_factory=Counter)
    faulted: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
