"""Answers that are none of the provider's API: each is that provider's fault, and means nothing."""

import base64
import gzip
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretBytes, SecretStr

from relight.domain.machine import MachineRef
from relight.providers.api import MAX_ANSWER_BYTES, Refusal, Response
from relight.providers.driver import (
    MachineSpec,
    ProviderAnswerError,
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
)
from relight.providers.lab import LabDriver

pytestmark = pytest.mark.attack("a provider with answers that make no sense")

KEY = "r-1-g1"
REF = MachineRef(key=KEY, provider="lab", provider_id="m-1")
SPEC = MachineSpec(region="lab-east", user_data=SecretBytes(b"x"), owner="us", generation=1)
MACHINE = {
    "id": "m-1",
    "label": KEY,
    "region": "lab-east",
    "architecture": "amd64",
    "status": "running",
    "address": "10.0.0.1",
    "created_at": "2026-01-01T00:00:00Z",
    "tags": {"owner": "us", "generation": "1"},
}
HTML = b"<html><title>Maintenance</title></html>"


@dataclass
class Page:
    """What a server answers to every request.

    Attributes:
        cut: fewer bytes are sent than announced.
        requests: the methods of the requests that came.
    """

    body: bytes = HTML
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    requests: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            page.requests.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page.body) + page.cut))
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(page.body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names of http.server

        def log_message(self, format: str, *args: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        page.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield page
        server.shutdown()
        thread.join()


@pytest.fixture
def driver(page: Page) -> LabDriver:
    return LabDriver(page.url, SecretStr("token"), timeout=timedelta(seconds=5))


CALLS: dict[str, Callable[[LabDriver], Awaitable[object]]] = {
    "regions": lambda driver: driver.regions(),
    "list": lambda driver: driver.list(),
    "find": lambda driver: driver.find(KEY),
    "ensure": lambda driver: driver.ensure(KEY, SPEC),
    "destroy": lambda driver: driver.destroy(REF),
}

BODIES = {
    "a page": HTML,
    "nothing": b"",
    "null": b"null",
    "a number": b"7",
    "an error in JSON": b'{"error": "maintenance"}',
    "half an answer": json.dumps([MACHINE]).encode()[:-20],
    "no text": b"\xff\xfe\x00",
    "too deep": b"[" * 100_000,
    "a long number": b"9" * 100_000,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", BODIES)
async def test_another_body_is_not_understood(
    page: Page, driver: LabDriver, call: str, body: str
) -> None:
    page.body = BODIES[body]
    with pytest.raises(ProviderAnswerError) as caught:
        await CALLS[call](driver)
    assert caught.value.retryable
    assert len(str(caught.value)) < 1500
    assert "DELETE" not in page.requests
    assert "POST" not in page.requests


BROKEN: dict[str, dict[str, object]] = {
    "without a label": {"label": None},
    "without an id": {"id": ""},
    "with a number as id": {"id": 7},
    "of an unknown architecture": {"architecture": "é; reboot"},
    "at no address": {"address": "evil.example; reboot"},
    "created at no time": {"created_at": "yesterday"},
    "with tags of another shape": {"tags": ["owner"]},
}


@pytest.mark.parametrize("what", BROKEN)
async def test_an_entry_that_is_not_understood_means_neither_absence_nor_presence(
    page: Page, driver: LabDriver, what: str
) -> None:
    broken = {**MACHINE, **BROKEN[what]}
    page.body = json.dumps([{**MACHINE, "label": "r-2-g1", "id": "m-2"}, broken]).encode()
    listing = await driver.list()
    assert [machine.key for machine in listing.machines] == ["r-2-g1"]
    assert not listing.complete
    with pytest.raises(ProviderAnswerError):
        await driver.find(KEY)
    page.body = json.dumps(broken).encode()
    with pytest.raises(ProviderAnswerError):
        await driver.destroy(REF)
    assert "DELETE" not in page.requests


async def test_a_machine_that_was_not_asked_for_is_not_the_machine(
    page: Page, driver: LabDriver
) -> None:
    """As from an API that ignores the query."""
    page.body = json.dumps([{**MACHINE, "label": "r-2-g1"}]).encode()
    assert await driver.find(KEY) is None
    page.body = json.dumps({**MACHINE, "id": "m-2"}).encode()
    with pytest.raises(ProviderAnswerError):
        await driver.destroy(REF)
    assert "DELETE" not in page.requests


async def test_a_generation_of_any_length_is_read(page: Page, driver: LabDriver) -> None:
    page.body = json.dumps([{**MACHINE, "tags": {"generation": "9" * 5000}}]).encode()
    [machine] = (await driver.list()).machines
    assert machine.generation is None


@pytest.mark.parametrize("call", CALLS)
async def test_a_page_with_status_404_does_not_mean_absence(
    page: Page, driver: LabDriver, call: str
) -> None:
    page.status = 404
    with pytest.raises(ProviderAnswerError):
        await CALLS[call](driver)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_not_followed(
    page: Page, driver: LabDriver, call: str, status: int
) -> None:
    page.status, page.headers = status, {"Location": "https://login.example/"}
    with pytest.raises(ProviderAnswerError):
        await CALLS[call](driver)


@pytest.mark.parametrize("call", CALLS)
async def test_an_answer_that_is_too_large_is_cut(page: Page, driver: LabDriver, call: str) -> None:
    page.body = b" " * (MAX_ANSWER_BYTES + 1)
    with pytest.raises(ProviderAnswerError, match="more than"):
        await CALLS[call](driver)


@pytest.mark.parametrize("call", CALLS)
async def test_an_answer_that_unpacks_to_much_is_cut(
    page: Page, driver: LabDriver, call: str
) -> None:
    page.body = gzip.compress(b" " * (MAX_ANSWER_BYTES + 1))
    page.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(ProviderAnswerError, match="more than"):
        await CALLS[call](driver)


async def test_a_compression_that_is_none_is_not_understood(page: Page, driver: LabDriver) -> None:
    page.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(ProviderAnswerError, match="decompressed"):
        await driver.list()


@pytest.mark.parametrize("charset", ["hex", "no-such", "idna", "utf-16"])
async def test_a_charset_of_any_name_is_harmless(
    page: Page, driver: LabDriver, charset: str
) -> None:
    page.headers = {"Content-Type": f"text/html; charset={charset}"}
    with pytest.raises(ProviderAnswerError):
        await driver.list()
    assert "Maintenance" in str(await driver.console(REF))


async def test_an_answer_that_breaks_off_is_no_answer(page: Page, driver: LabDriver) -> None:
    page.body, page.cut = b"[]", 100
    with pytest.raises(ProviderUnavailableError):
        await LabDriver(page.url, SecretStr("token"), timeout=timedelta(seconds=0.5)).list()


USER_DATA = base64.b64encode(b"host-private-key " * 100).decode()


def test_user_data_that_an_answer_repeats_is_in_no_error() -> None:
    body = json.dumps({"id": "1", "data": {"user_data": USER_DATA}}).encode()
    not_understood = Response("cloud", "create", body).unreadable("state: Field required")
    refusal = Refusal("cloud", "create", 400, {}, None, "no")
    for error in (
        not_understood,
        refusal.error(ProviderInvalidError, f"user_data: {USER_DATA} is too large"),
        refusal.error(ProviderInvalidError, f"{'x ' * 200}{USER_DATA}"),
    ):
        assert USER_DATA[:40] not in str(error)


async def test_user_data_that_a_proxy_repeats_is_in_no_error(page: Page, driver: LabDriver) -> None:
    page.status = 400
    for before in ("", "x " * 200):
        page.body = f"<html>{before}{USER_DATA}</html>".encode()
        with pytest.raises(ProviderError) as refused:
            await driver.list()
        assert USER_DATA[:40] not in str(refused.value)
