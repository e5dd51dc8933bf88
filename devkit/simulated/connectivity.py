"""A connectivity check that answers until a test switches it off."""

from datetime import UTC, datetime

from relight.domain.breaker.breaker import ConnectivityResult


class FakeConnectivityCheck:
    """An address that is known to be up.

    Attributes:
        reached: whether it answers.
    """

    def __init__(self) -> None:
        self.reached = True

    async def run(self) -> ConnectivityResult:
        return ConnectivityResult(
            name="https://up.example",
            observed_at=datetime.now(UTC),
            reached=self.reached,
            answer="200" if self.reached else "no answer",
        )
