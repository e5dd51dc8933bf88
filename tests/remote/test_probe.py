"""The health probe, asked of real HTTP servers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from messages.faults import FaultClass
from remote.destination import Destination
from remote.errors import ProbeFailedError
from remote.probe import ANSWER_CHARACTERS, HttpProbe

HOST = Destination(address="127.0.0.1", port=22, user="relight", machine_key="de-1-g1")

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer, heads: list[str] | None = None) -> AsyncIterator[int]:
    """Answer each request like this, and yield the port."""

    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head.decode())
        try:
            await answer(writer)
        except ConnectionError:
            pass  # the probe has heard enough
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(serve, HOST.address, 0) as listener:
        yield listener.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def says(status: str, body: str = "", *headers: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers))
        writer.write(f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode())
        await writer.drain()

    return answer


async def probe(port: int, seconds: float = 5) -> str:
    return await HttpProbe(port, "/healthz", timedelta(seconds=seconds))(HOST)


async def refused(answer: Answer, seconds: float = 5) -> ProbeFailedError:
    async with server(answer) as port:
        with pytest.raises(ProbeFailedError) as caught:
            await probe(port, seconds)
    assert caught.value.fault_class is FaultClass.RELEASE
    assert caught.value.destination is HOST
    assert caught.value.attempted == f"GET http://127.0.0.1:{port}/healthz"
    return caught.value


@pytest.mark.parametrize("status", ["200 OK", "204 No Content"])
async def test_an_answer_of_success_is_health(status: str) -> None:
    heads: list[str] = []
    async with server(says(status), heads) as port:
        code = status.partition(" ")[0]
        assert await probe(port) == f"GET http://127.0.0.1:{port}/healthz: {code}"
    assert [head.partition("\r\n")[0] for head in heads] == ["GET /healthz HTTP/1.1"]


async def test_a_daemon_that_is_not_healthy_says_why_in_its_own_words() -> None:
    error = await refused(says("503 Service Unavailable", '{"reason":\n  "no upstream answers"}\n'))
    assert error.text == '503 {"reason": "no upstream answers"}'


async def test_words_without_end_are_cut() -> None:
    error = await refused(says("500 Internal Server Error", "é" * 100_000))
    assert error.text == f"500 {'é' * ANSWER_CHARACTERS}"


async def test_a_redirect_is_no_health_and_is_not_followed() -> None:
    async with server(says("200 OK")) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere}/login"
        error = await refused(says("302 Found", "moved", f"Location: {location}"))
    assert error.text == f"302 to {location}"


async def test_a_port_that_nobody_listens_on_is_refused_in_the_systems_words() -> None:
    with socket.socket() as taken:
        taken.bind((HOST.address, 0))  # and does not listen
        with pytest.raises(ProbeFailedError, match="Connection refused"):
            await probe(taken.getsockname()[1])


async def test_a_name_that_does_not_resolve_says_so() -> None:
    host = Destination(address="host.invalid", port=22, user="relight", machine_key="de-1-g1")
    with pytest.raises(ProbeFailedError, match=r"de-1-g1 .*[Nn]ame"):
        await HttpProbe(8899, "/healthz", timedelta(seconds=5))(host)


async def test_a_daemon_that_is_silent_is_given_up() -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    assert (await refused(silent, 0.2)).text == "no answer after 0.2 s"


async def test_an_answer_that_trickles_is_given_up_too() -> None:
    async def trickles(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)  # each wait is shorter than the limit

    assert (await refused(trickles, 0.3)).text == "no answer after 0.3 s"


async def test_what_is_not_http_is_no_health() -> None:
    async def ssh(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")

    assert (await refused(ssh)).text


async def test_a_connection_that_breaks_is_no_health() -> None:
    async def nothing(writer: asyncio.StreamWriter) -> None:
        return

    assert "disconnected" in (await refused(nothing)).text


async def test_no_proxy_of_this_computer_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(says("502 Bad Gateway")) as proxy, server(says("200 OK")) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert (await probe(port)).endswith(": 200")
