"""Connectivity checks: any answer counts as reached, and a silent address times out."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from relight.connectivity import UrlConnectivityCheck, run_all
from relight.settings import Settings

SHORT = timedelta(milliseconds=200)


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with 503."""

    def do_HEAD(self) -> None:
        self.send_error(503)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a web server that answers every request with 503."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.daemon_threads = False  # So that closing the server waits for its connections.
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_http_error_counts_as_reached(port: int) -> None:
    result = await UrlConnectivityCheck(f"http://127.0.0.1:{port}/x").run()
    assert (result.reached, result.answer) == (True, "503")
    assert result.name == f"http://127.0.0.1:{port}/x"


async def test_a_tcp_connection_counts_as_reached(port: int) -> None:
    assert (await UrlConnectivityCheck(f"tcp://127.0.0.1:{port}").run()).reached


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_a_closed_port_is_not_reached(port: int, scheme: str) -> None:
    result = await UrlConnectivityCheck(f"{scheme}://127.0.0.1:1").run()
    assert not result.reached
    assert result.answer


async def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = await UrlConnectivityCheck(url, timeout=SHORT).run()
    assert not result.reached


async def test_all_checks_run_and_names_contain_no_password(port: int) -> None:
    checks = [
        UrlConnectivityCheck(f"http://ann:secret@127.0.0.1:{port}"),
        UrlConnectivityCheck("tcp://127.0.0.1:1"),
    ]
    results = await run_all(checks)
    assert [result.reached for result in results] == [True, False]
    assert "secret" not in results[0].name


def test_the_setting_is_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "RELIGHT_CONNECTIVITY_CHECKS", '["https://a.example", "tcp://192.0.2.1:443"]'
    )
    assert Settings().connectivity_checks == ("https://a.example", "tcp://192.0.2.1:443")


@pytest.mark.parametrize("value", ["https://a.example", '["a.example"]', '["ftp://a.example"]'])
def test_an_invalid_address_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RELIGHT_CONNECTIVITY_CHECKS", value)
    with pytest.raises(ValueError, match="connectivity"):
        Settings()
