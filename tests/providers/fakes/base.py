"""What all fake vendors share: a real HTTP server, injected faults, traps, a clock and a bill.

A fake of a vendor derives from `VendorFake`. It gives the routes of its API, tells which kind of
call a request is, and how its vendor refuses. Its state is its own; a request changes it without an
`await` between a look and a change, as a vendor's database would.
"""

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devkit.chaos.provider_faults import Call, ProviderFault, ProviderFaults
from devkit.simulated.images import ImageTrap
from relight.providers.driver import ProviderDriver
from relight.providers.locations import ProviderSettings
from tests.providers.fakes.bill import Bill
from tests.providers.fakes.machines import Machines


class Trap(StrEnum):
    """What a vendor does as long as the test leaves it on: `fake.traps.add(Trap.QUOTA)`.

    `CAPACITY` may be limited to zones and shapes by `fake.full`.
    """

    CAPACITY = "there is no room"
    QUOTA = "a limit of the account is reached"
    INVALID = "the request is refused as wrong"
    STALE_LISTING = "listings lack what was created last"
    DUPLICATE_LISTING = "listings have each machine twice"
    TRUNCATED_PAGE = "the first page of a listing has too few machines"
    ENDLESS_PAGES = "each page names itself as the next one"
    NEVER_STARTS = "what is created never runs"
    STARTS_FAILED = "what is created fails"
    NO_PERMISSION = "the credentials may not do it"


@dataclass(frozen=True)
class Received:
    """A request as it came: for comparison with what the vendor's own SDK sends.

    Attributes:
        path: undecoded, with the query.
        headers: by lower-case name.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class _Body:
    """Answers that a fake changes before they are sent."""

    sent: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


class VendorFake(ABC):
    """One account at a vendor.

    One whose driver has the calls for base images sets `other_region`, `IMAGE_TRAPS` and
    `image_call_of`, and has the functions for what a test does with images.

    Attributes:
        name: of the driver.
        region: one that the driver over it has.
        has_console: whether the vendor gives the console of a machine.
        refuses_twins: whether two creations of one key at once make one machine.
        other_region: a second region of the driver, for base images; empty: it has no such calls.
        IMAGE_TRAPS: those of `image_traps` that it has.
        images_can_be_needed: whether the vendor keeps an image that something needs.
        rounding: how far before a creation its time may be: the vendor rounds times down.
        provider_faults: the faults to inject, each into one call.
        traps: what is wrong until it is removed.
        image_faults: the faults to inject into calls for images; `provider_faults` come after them.
        image_traps: what is wrong with images until it is removed.
        full: the (zone, shape) that have no room with `Trap.CAPACITY`; empty: none has.
        retry_after: what a rate limit asks to wait for; None: it does not say.
        bill: what costs money.
        behind: what is behind the machines that are made from now on, at Linode and OpenStack.
        received: every request, in order.
        url: of the API while it is served.
    """

    name: str
    region: str
    has_console = True
    refuses_twins = True
    rounding = timedelta()
    other_region = ""
    IMAGE_TRAPS: frozenset[ImageTrap] = frozenset()
    images_can_be_needed = True

    def __init__(self) -> None:
        self.provider_faults = ProviderFaults()
        self.image_faults = ProviderFaults()
        self.image_traps: set[ImageTrap] = set()
        self.traps: set[Trap] = set()
        self.full: set[tuple[str, str]] = set()
        self.retry_after: timedelta | None = None
        self.bill = Bill()
        self.behind = Machines()
        self.received: list[Received] = []
        self.url = ""
        self._ahead = timedelta()
        self._stands_at: datetime | None = None

    @abstractmethod
    def settings(self, folder: Path) -> ProviderSettings:
        """Return settings with which a driver reaches this fake while it is served.

        Args:
            folder: for the files with secrets.
        """

    @abstractmethod
    def driver(self, folder: Path) -> ProviderDriver:
        """Return the driver over this fake while it is served.

        Args:
            folder: for the files with secrets.
        """

    @abstractmethod
    def routes(self) -> Sequence[BaseRoute]:
        """Return the API's routes."""

    @abstractmethod
    def call_of(self, request: Request) -> Call | None:
        """Return the kind of call; None for one that is never disturbed, as a login."""

    @abstractmethod
    def refusal(self, fault: ProviderFault) -> Response:
        """Return the vendor's answer for `TOO_MANY_REQUESTS` and `SERVER_ERROR`."""

    @abstractmethod
    def accepted(self, request: Request) -> Response:
        """Return the vendor's answer to a deletion that is accepted and not done."""

    def image_call_of(self, request: Request) -> Call | None:
        """Return the kind of call if it is one for base images; None for any other."""
        del request
        return None

    def add_foreign_image(self, name: str, region: str) -> str:
        """Make an image as somebody else does, without our tags, and return its id."""
        raise NotImplementedError

    def images_named(self, name: str) -> int:
        """Return how many images have a name, those that are ordered too, without failed ones."""
        raise NotImplementedError

    def use_image(self, image_id: str) -> None:
        """Let something need an image, so that it cannot be deleted."""
        raise NotImplementedError

    def release_image(self, image_id: str) -> None:
        """Let nothing need an image any more."""
        raise NotImplementedError

    def now(self) -> datetime:
        """The vendor's clock."""
        return (self._stands_at or datetime.now(UTC)) + self._ahead

    def advance(self, span: timedelta) -> None:
        """Put the vendor's clock forward."""
        self._ahead += span

    def stand_at(self, now: datetime) -> None:
        """Let the vendor's clock stand at a time, unless it stands at a later one already."""
        self._stands_at = max(now, self._stands_at or now)

    def is_full(self, zone: str, shape: str) -> bool:
        return Trap.CAPACITY in self.traps and (not self.full or (zone, shape) in self.full)

    @property
    def app(self) -> ASGIApp:
        """The API. An answer that is lost breaks the connection off."""
        api = Starlette(routes=list(self.routes()))

        async def disturbed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await api(scope, receive, send)
                return
            request = Request(scope, receive)
            body = await request.body()
            self._note(request, body)
            fault = self._fault(request)
            await self._answer(api, request, body, fault, send)

        return disturbed

    def _fault(self, request: Request) -> ProviderFault | None:
        call = self.image_call_of(request)
        fault = self.image_faults.next_for(call) if call is not None else None
        call = self.call_of(request)
        if fault is None and call is not None:
            fault = self.provider_faults.next_for(call)
        return fault

    def _note(self, request: Request, body: bytes) -> None:
        query = f"?{request.url.query}" if request.url.query else ""
        path = request.scope["raw_path"].decode() + query
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.method, path, headers, body))

    async def _answer(
        self, api: ASGIApp, request: Request, body: bytes, fault: ProviderFault | None, send: Send
    ) -> None:
        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        if fault is ProviderFault.UNANSWERED:
            await break_off(send)
            return
        if fault in {ProviderFault.TOO_MANY_REQUESTS, ProviderFault.SERVER_ERROR}:
            refusal = self.refusal(fault)
            if fault is ProviderFault.TOO_MANY_REQUESTS and self.retry_after is not None:
                refusal.headers["Retry-After"] = f"{self.retry_after.total_seconds():.0f}"
            await refusal(request.scope, again, send)
            return
        if fault is ProviderFault.ACCEPTED_NOT_DONE:
            await self.accepted(request)(request.scope, again, send)
            return
        answer = _Body()
        await api(request.scope, again, answer.send)
        if fault is ProviderFault.REPLY_LOST:
            await break_off(send)
        elif fault is ProviderFault.UNREADABLE:
            page = PlainTextResponse("<html>Please log in</html>", media_type="text/html")
            await page(request.scope, again, send)
        else:
            for message in answer.sent:
                await send(message)

    @contextmanager
    def served(self, app: ASGIApp | None = None) -> Iterator[str]:
        """Serve the API on this computer; the value is its URL, which is `url` too.

        Args:
            app: answers instead of the API, as one that puts more in its way.
        """
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app or self.app,
            log_config=None,
            log_level="critical",
            lifespan="off",
            # Not uvloop where it is installed: a request whose caller went away would more often
            # take the fault that is meant for the next one.
            loop="asyncio",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield self.url
        finally:
            server.should_exit = True
            thread.join()
            listener.close()


async def break_off(send: Send) -> None:
    """Announce more bytes than are sent: the server closes the connection."""
    headers = [(b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
