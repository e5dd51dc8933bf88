"""A Prometheus that gives every instant query the same answer, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def vector(*values: str, **labels: str) -> dict[str, Any]:
    """Return an answer with one series for each value; several are numbered by `instance`."""
    names = [{"instance": f"i{number}"} for number in range(len(values))]
    return _success(
        "vector",
        [
            {"metric": labels | (name if len(values) > 1 else {}), "value": [1760000000.123, value]}
            for name, value in zip(names, values, strict=True)
        ],
    )


def scalar(value: str) -> dict[str, Any]:
    return _success("scalar", [1760000000.123, value])


def _success(kind: str, result: object) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


@dataclass
class FakePrometheus:
    """A server with one answer.

    Attributes:
        queries: the queries that it got.
        answer: the body; bytes are sent as they are.
        status: the HTTP status.
    """

    url: str
    queries: list[str] = field(default_factory=list)
    answer: dict[str, Any] | bytes = field(default_factory=vector)
    status: int = 200

    def body(self) -> bytes:
        return self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()


@contextmanager
def fake_prometheus(port: int = 0) -> Iterator[FakePrometheus]:
    """Run one until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path != "/api/v1/query":
                self.send_error(404)
                return
            served.queries += parse_qs(url.query)["query"]
            self.send_response(served.status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(served.body())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        served = FakePrometheus(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
