"""A fake vendor's API of which each kind of fault takes its share of the requests."""

import random
from collections import Counter
from enum import StrEnum

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from devkit.chaos.provider_faults import Call, ProviderFault
from tests.providers.fakes.base import Trap, VendorFake, break_off

SHARE = 0.1


class Fault(StrEnum):
    """What goes wrong with a request: at most one of these."""

    TOO_MANY_REQUESTS = "429"
    SERVER_ERROR = "5xx"
    TIMEOUT_BEFORE = "timeout, not done"
    TIMEOUT_AFTER = "timeout, done"
    LOST_BEFORE = "reply lost, not done"
    LOST_AFTER = "reply lost, done"
    NOT_DONE = "deletion accepted, not done"


_TIMEOUTS = {Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER}
_BEFORE = {Fault.TIMEOUT_BEFORE, Fault.LOST_BEFORE}
_AFTER = {Fault.TIMEOUT_AFTER, Fault.LOST_AFTER}
_LIES = (Trap.DUPLICATE_LISTING, Trap.STALE_LISTING)


class UnreliableApi:
    """The API, as an ASGI app. A request is answered in one step: no other one comes between.

    Attributes:
        is_calm: whether nothing goes wrong.
        injected: what went wrong, counted.
        requests: that came.
    """

    def __init__(self, fake: VendorFake, rng: random.Random, share: float = SHARE) -> None:
        self._fake = fake
        self._api = fake.app
        self._rng = rng
        self._share = share
        self.is_calm = True
        self.injected: Counter[str] = Counter()
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or do not."""
        request = Request(scope, receive)
        body = await request.body()

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        self.requests += 1
        call = self._fake.call_of(request)
        fault = None if self.is_calm or call is None else self._fault(call)
        if fault is not None:
            self.injected[fault] += 1
        answer: list[Message] = []
        if fault not in _BEFORE:
            await self._answered(request, again, answer, call, fault)
        if fault in _TIMEOUTS:
            # The client waits until it gives up, and closes the connection.
            await receive()
        if fault in _BEFORE | _AFTER:
            await break_off(send)
            return
        for message in answer:
            await send(message)

    def _fault(self, call: Call) -> Fault | None:
        kinds = [
            Fault.TOO_MANY_REQUESTS,
            Fault.SERVER_ERROR,
            self._rng.choice((Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER)),
            Fault.LOST_BEFORE,
            Fault.LOST_AFTER,
        ]
        if call is Call.DESTROY:
            kinds.append(Fault.NOT_DONE)
        place = self._rng.random() / self._share
        return kinds[int(place)] if place < len(kinds) else None

    async def _answered(
        self,
        request: Request,
        again: Receive,
        answer: list[Message],
        call: Call | None,
        fault: Fault | None,
    ) -> None:
        async def keep(message: Message) -> None:
            answer.append(message)

        match fault:
            case Fault.TOO_MANY_REQUESTS:
                refusal = self._fake.refusal(ProviderFault.TOO_MANY_REQUESTS)
                await refusal(request.scope, again, keep)
            case Fault.SERVER_ERROR:
                refusal = self._fake.refusal(ProviderFault.SERVER_ERROR)
                await refusal(request.scope, again, keep)
            case Fault.NOT_DONE:
                await self._fake.accepted(request)(request.scope, again, keep)
            case _:
                if call is Call.READ and not self.is_calm:
                    for lie in _LIES:
                        if self._rng.random() < self._share:
                            self._fake.traps.add(lie)
                            self.injected[lie] += 1
                await self._api(request.scope, again, keep)
                self._fake.traps.clear()
