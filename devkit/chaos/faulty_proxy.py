"""An HTTP proxy in front of a provider's API that injects provider faults."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from devkit.chaos.provider_faults import Call, ProviderFault, ProviderFaults

_CALLS = {"GET": Call.READ, "POST": Call.CREATE, "DELETE": Call.DESTROY}
_ERROR_STATUS = {ProviderFault.TOO_MANY_REQUESTS: 429, ProviderFault.SERVER_ERROR: 500}
_FORWARDED_HEADERS = ("Authorization", "Content-Type")


@dataclass(frozen=True)
class FaultyProxy:
    """A running proxy.

    Attributes:
        url: its address.
        provider_faults: the faults to inject.
    """

    url: str
    provider_faults: ProviderFaults


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """Serve a proxy in front of the API at `target` until the block ends."""
    with httpx.Client(base_url=target, timeout=10) as api, _Server(api) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield FaultyProxy(f"http://127.0.0.1:{server.server_port}", server.provider_faults)
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, api: httpx.Client) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api
        self.provider_faults = ProviderFaults()
        self.stopping = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        fault = self.server.provider_faults.next_for(_CALLS[self.command])
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault is ProviderFault.UNANSWERED:
            self.server.stopping.wait()
        elif fault in _ERROR_STATUS:
            self._reply(_ERROR_STATUS[fault], b'{"detail": "injected fault"}')
        elif fault is ProviderFault.ACCEPTED_NOT_DONE:
            self._reply(202, self._forward("GET", b"").content)
        else:
            response = self._forward(self.command, body)
            if fault is ProviderFault.UNREADABLE:
                self._reply(200, b"<html>Please log in</html>")
            elif fault is not ProviderFault.REPLY_LOST:
                self._reply(response.status_code, response.content)

    def _forward(self, method: str, body: bytes) -> httpx.Response:
        headers = {name: self.headers[name] for name in _FORWARDED_HEADERS if name in self.headers}
        return self.server.api.request(method, self.path, content=body, headers=headers)

    def _reply(self, status: int, body: bytes) -> None:
        with suppress(ConnectionError):  # the caller was killed
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)
