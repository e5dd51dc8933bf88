"""Tokens of creations that create nothing any more, whatever the vendor answers."""

import itertools
import time
from collections.abc import Callable
from datetime import timedelta

MAX_REMEMBERED = 10_000


class SpentTokens:
    """What this process knows of tokens.

    A vendor may repeat its answer to a token: a refusal, also when there is room again; a success,
    also when the machine is gone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nothing yet.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._spent: dict[str, float] = {}

    def unspent(self, token_of: Callable[[int], str]) -> str:
        """Return the first token of a series that is not spent."""
        tokens = map(token_of, itertools.count())
        return next(each for each in tokens if self._spent.get(each, float("inf")) > self._clock())

    def spend(self, token: str, after: timedelta = timedelta(0)) -> None:
        """Use a token no more, after a time; the earliest time counts.

        The token that was added first is forgotten where there are too many.
        """
        at = self._clock() + after.total_seconds()
        self._spent[token] = min(at, self._spent.get(token, at))
        if len(self._spent) > MAX_REMEMBERED:
            del self._spent[next(iter(self._spent))]
