"""An HTTP proxy in front of a provider's API: it injects provider faults, and it may lie.

Before a lab it can record each request to delete a machine, with what that answered just before it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from devkit.chaos.deletions import Deletions
from devkit.chaos.listing_lies import ListingLie
from devkit.chaos.provider_faults import Call, ProviderFault, ProviderFaults

_CALLS = {"GET": Call.READ, "POST": Call.CREATE, "PUT": Call.CREATE, "DELETE": Call.DESTROY}
_ERROR_STATUS = {ProviderFault.TOO_MANY_REQUESTS: 429, ProviderFault.SERVER_ERROR: 500}
_FORWARDED_HEADERS = (
    *("Accept", "Authorization", "Content-Type"),
    *("OpenStack-API-Version", "X-Auth-Token"),
)
_TIMEOUT_SECONDS = 300
"""Until the API has answered: the caller's own limit ends it before."""


@dataclass
class FaultyProxy:
    """A running proxy.

    Attributes:
        url: its address.
        provider_faults: the faults to inject.
        lie: what its answers say that is not so; None if they are true.
    """

    url: str
    provider_faults: ProviderFaults
    lie: ListingLie | None = None


@contextmanager
def faulty_proxy(target: str, deletions: Deletions | None = None) -> Iterator[FaultyProxy]:
    """Serve a proxy in front of the API at `target` until the block ends.

    Args:
        target: the URL of the API.
        deletions: where the requests to delete a lab's machines are recorded; None: nowhere.
    """
    client = httpx.Client(base_url=target, timeout=_TIMEOUT_SECONDS, trust_env=False)
    with client as api, _Server(api, deletions) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.proxy
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, api: httpx.Client, deletions: Deletions | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api
        self.deletions = deletions
        self.proxy = FaultyProxy(f"http://127.0.0.1:{self.server_port}", ProviderFaults())
        self.stopping = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        fault = self.server.proxy.provider_faults.next_for(_CALLS[self.command])
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault is ProviderFault.UNANSWERED:
            self.server.stopping.wait()
        elif fault in _ERROR_STATUS:
            self._reply(_ERROR_STATUS[fault], b'{"detail": "injected fault"}')
        elif fault is ProviderFault.ACCEPTED_NOT_DONE:
            self._reply(202, self._forward("GET", b"").content)
        else:
            if self.command == "DELETE" and self.server.deletions is not None:
                self._note_deletion(self.server.deletions)
            response = self._forward(self.command, body)
            if fault is ProviderFault.UNREADABLE:
                self._reply(200, b"<html>Please log in</html>")
            elif fault is not ProviderFault.REPLY_LOST:
                status, content = response.status_code, response.content
                lie = self.server.proxy.lie
                if lie is not None and self.command == "GET":
                    status, content = lie.told(self.path, status, content)
                self._reply(status, content)

    def _note_deletion(self, deletions: Deletions) -> None:
        machine = self._forward("GET", b"")
        if machine.is_success:
            all_machines = self._forward("GET", b"", "/v1/machines").raise_for_status()
            deletions.note(machine.json(), all_machines.json())

    def _forward(self, method: str, body: bytes, path: str = "") -> httpx.Response:
        headers = {name: self.headers[name] for name in _FORWARDED_HEADERS if name in self.headers}
        return self.server.api.request(method, path or self.path, content=body, headers=headers)

    def _reply(self, status: int, body: bytes) -> None:
        with suppress(ConnectionError):  # the caller was killed
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)
