"""A witness was reached if it answered, whatever it said; and it is never waited for for long."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from activities.fleet.connectivity import UrlConnectivityCheck, check_all
from relight.settings import Settings

SHORT = timedelta(milliseconds=200)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A web server that refuses everything."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_one_that_refuses_was_reached(port: int) -> None:
    looked = await UrlConnectivityCheck(f"http://127.0.0.1:{port}/x").look()
    assert (looked.reached, looked.answer) == (True, "503")
    assert looked.name == f"http://127.0.0.1:{port}/x"


async def test_a_connection_is_enough(port: int) -> None:
    assert (await UrlConnectivityCheck(f"tcp://127.0.0.1:{port}").look()).reached


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_one_that_is_not_there_was_not_reached(port: int, scheme: str) -> None:
    looked = await UrlConnectivityCheck(f"{scheme}://127.0.0.1:1").look()
    assert not looked.reached
    assert looked.answer


async def test_one_that_says_nothing_is_not_waited_for_for_long() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        looked = await UrlConnectivityCheck(f"http://127.0.0.1:{port}", within=SHORT).look()
    assert not looked.reached


async def test_all_are_asked_and_no_secret_is_in_a_name(port: int) -> None:
    connectivity = [
        UrlConnectivityCheck(f"http://ann:secret@127.0.0.1:{port}"),
        UrlConnectivityCheck("tcp://127.0.0.1:1"),
    ]
    looks = await check_all(connectivity)
    assert [look.reached for look in looks] == [True, False]
    assert "secret" not in looks[0].name


def test_they_are_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "RELIGHT_CONNECTIVITY_CHECKS", '["https://a.example", "tcp://192.0.2.1:443"]'
    )
    assert Settings().connectivity == ("https://a.example", "tcp://192.0.2.1:443")


@pytest.mark.parametrize("value", ["https://a.example", '["a.example"]', '["ftp://a.example"]'])
def test_what_cannot_be_asked_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RELIGHT_CONNECTIVITY_CHECKS", value)
    with pytest.raises(ValueError, match="connectivity"):
        Settings()
