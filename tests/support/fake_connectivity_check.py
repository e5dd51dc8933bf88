"""A witness that is up, until it is said that it is not."""

from datetime import UTC, datetime

from relight.domain.breaker.breaker import ConnectivityResult


class FakeConnectivityCheck:
    """A place that is known to be up.

    Attributes:
        reached: whether it answers.
    """

    def __init__(self) -> None:
        self.reached = True

    async def run(self) -> ConnectivityResult:
        return ConnectivityResult(
            name="https://witness.example",
            observed_at=datetime.now(UTC),
            reached=self.reached,
            answer="200" if self.reached else "no answer",
        )
