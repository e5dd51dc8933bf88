"""A way to a provider's HTTP API on which calls get lost, over real HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from devkit.chaos.troubles import (
    Call,
    Trouble,
    Troubles,
)

_CALLS = {"GET": Call.LOOK, "POST": Call.CREATE, "DELETE": Call.DESTROY}
_REFUSALS = {Trouble.TOO_MANY: 429, Trouble.BROKEN: 500}
_PASSED_ON = ("Authorization", "Content-Type")


@dataclass(frozen=True)
class TroubledProxy:
    """Hands on whatever it is asked, save for its troubles."""

    url: str
    troubles: Troubles


class _Server(ThreadingHTTPServer):
    def __init__(self, api: httpx.Client) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api
        self.troubles = Troubles()
        self.ended = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._meet()

    def do_POST(self) -> None:
        self._meet()

    def do_DELETE(self) -> None:
        self._meet()

    def log_message(self, *args: object) -> None:
        pass

    def _meet(self) -> None:
        trouble = self.server.troubles.take(_CALLS[self.command])
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if trouble is Trouble.UNANSWERED:
            self.server.ended.wait()
        elif trouble in _REFUSALS:
            self._answer(_REFUSALS[trouble], b'{"detail": "trouble"}')
        elif trouble is Trouble.NOT_DONE:
            self._answer(202, self._handed_on("GET", b"").content)
        else:
            answer = self._handed_on(self.command, body)
            if trouble is not Trouble.REPLY_LOST:
                self._answer(answer.status_code, answer.content)

    def _handed_on(self, method: str, body: bytes) -> httpx.Response:
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        return self.server.api.request(method, self.path, content=body, headers=headers)

    def _answer(self, status: int, body: bytes) -> None:
        with suppress(ConnectionError):  # whoever asked has been killed
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)


@contextmanager
def troubled_proxy(target: str) -> Iterator[TroubledProxy]:
    """Serve one before an API until the block ends."""
    with httpx.Client(base_url=target, timeout=10) as api, _Server(api) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield TroubledProxy(f"http://127.0.0.1:{server.server_port}", server.troubles)
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
