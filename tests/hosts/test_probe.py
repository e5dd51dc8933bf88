"""Health probes over the network against real servers, and their retries."""

import asyncio
import contextlib
import gzip
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Literal

import pytest

from relight.domain.fault.fault import FaultClass
from relight.hosts.errors import Destination, NotListeningError, ProbeFailedError
from relight.hosts.probe import (
    ANSWER_CHARACTERS,
    CommandProbe,
    HttpProbe,
    NoProbe,
    PatientProbe,
    Probe,
    TcpProbe,
    probe_of,
)

HOST = Destination(address="127.0.0.1", port=22, user="relight", machine_key="de-1-g1")

SECONDS = timedelta(seconds=5)

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer, heads: list[str] | None = None) -> AsyncIterator[int]:
    """Run a server that answers each request with `answer`; yield its port."""

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
            pass  # the probe closed the connection
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(serve, HOST.address, 0) as listener:
        yield listener.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def respond(status: str, body: str = "", *headers: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers))
        writer.write(f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode())
        await writer.drain()

    return answer


def raw(answer: bytes) -> Answer:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return send


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """Yield a bound port that does not listen."""
    with socket.socket() as taken:
        taken.bind((HOST.address, 0))
        yield taken.getsockname()[1]


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
async def test_a_2xx_status_is_healthy(status: str) -> None:
    heads: list[str] = []
    async with server(respond(status), heads) as port:
        code = status.partition(" ")[0]
        assert await probe(port) == f"GET http://127.0.0.1:{port}/healthz: {code}"
    assert [head.partition("\r\n")[0] for head in heads] == ["GET /healthz HTTP/1.1"]


async def test_the_body_of_an_unhealthy_answer_is_the_reason() -> None:
    error = await refused(
        respond("503 Service Unavailable", '{"reason":\n  "no upstream answers"}\n')
    )
    assert error.text == '503 {"reason": "no upstream answers"}'


async def test_a_long_body_is_cut() -> None:
    error = await refused(respond("500 Internal Server Error", "é" * 100_000))
    assert error.text == f"500 {'é' * ANSWER_CHARACTERS}"


async def test_a_redirect_is_unhealthy_and_not_followed() -> None:
    async with server(respond("200 OK")) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere}/login"
        error = await refused(respond("302 Found", "moved", f"Location: {location}"))
    assert error.text == f"302 to {location}"


async def test_a_refused_connection_has_the_operating_systems_text() -> None:
    with silent_port() as port, pytest.raises(NotListeningError, match=r"connection refused$"):
        await probe(port)


async def test_a_name_that_does_not_resolve_is_named() -> None:
    host = Destination(address="host.invalid", port=22, user="relight", machine_key="de-1-g1")
    with pytest.raises(ProbeFailedError, match=r"de-1-g1 .*[Nn]ame"):
        await HttpProbe(8899, "/healthz", timedelta(seconds=5))(host)


async def test_a_silent_service_times_out() -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    assert (await refused(silent, 0.2)).text == "no answer after 0.2 s"


async def test_a_slow_answer_times_out() -> None:
    async def trickles(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)  # shorter than the timeout

    assert (await refused(trickles, 0.3)).text == "no answer after 0.3 s"


async def test_an_answer_that_is_not_http_is_unhealthy() -> None:
    async def ssh(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")

    assert (await refused(ssh)).text == "illegal status line: SSH-2.0-OpenSSH_9.2p1"


async def test_a_server_that_waits_after_its_greeting_is_named_at_once() -> None:
    async def smtp(writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await asyncio.Event().wait()

    assert (await refused(smtp)).text == "illegal status line: 220 mail.example ESMTP"


async def test_a_broken_connection_is_unhealthy() -> None:
    async def nothing(writer: asyncio.StreamWriter) -> None:
        return

    assert "disconnected" in (await refused(nothing)).text


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nServer: a\n\n",
        b"HTTP/1.0 200 OK\r\n\r\nbody until the end",
        b"HTTP/1.1 200\r\nServer: a\r\n b\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
    ],
)
async def test_an_unusual_answer_is_healthy(answer: bytes) -> None:
    async with server(raw(answer)) as port:
        assert (await probe(port)).endswith((": 200", ": 204"))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "Server disconnected without sending a response."),
        (b"\x00\xff" * 1000, "illegal status line: " + r"\x00\xff" * 50),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "Server disconnected before the end of its answer."),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            (
                "peer closed connection without sending complete message body "
                "(incomplete chunked read)"
            ),
        ),
        (b"HTTP/2 200\r\n\r\n", "illegal status line: HTTP/2 200"),
        (b"HTTP/1.1 099 Early\r\n\r\n", "illegal status line: HTTP/1.1 099 Early"),
        (b"HTTP/1.1 200 OK\r\n\x1b]0;\x07\r\n\r\n", r"illegal header line: \x1b]0;\x07"),
        (b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "continuation line at start of headers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc", "bad Content-Length"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            (
                "peer closed connection without sending complete message body "
                "(received 3 bytes, expected 9)"
            ),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
            "Only Transfer-Encoding: chunked is supported",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
            "illegal chunk header: zz",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nlonger\r\n",
            r"malformed chunk footer: ng (expected b'\r\n')",
        ),
        (
            (
                b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
            ),
            "503 hello world",
        ),
        (b"HTTP/1.1 302 Found\r\nLocation: /a\r\n\tb\r\n\r\n", "302 to /a b"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "illegal status line: HTTP/1.1 101 Switching Protocols",
        ),
    ],
)
async def test_a_bad_answer_is_named(answer: bytes, text: str) -> None:
    assert (await refused(raw(answer))).text == text


async def test_the_path_is_sent_in_ascii() -> None:
    heads: list[str] = []
    async with server(respond("200 OK"), heads) as port:
        await HttpProbe(port, "/é \r\nX: y?a=%20b", SECONDS)(HOST)
    assert heads[0].splitlines()[:2] == [
        "GET /%C3%A9%20%0D%0AX:%20y?a=%20b HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
    ]


async def test_an_answer_over_ipv6_is_read() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await respond("200 OK")(writer)
        writer.close()

    heads: list[str] = []
    host = Destination(address="::1", port=22, user="relight", machine_key="de-1-g1")
    async with await asyncio.start_server(serve, "::1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        assert await HttpProbe(port, "/", SECONDS)(host) == f"GET http://[::1]:{port}/: 200"
    assert f"Host: [::1]:{port}\r\n" in heads[0]


async def test_the_local_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(respond("502 Bad Gateway")) as proxy, server(respond("200 OK")) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert (await probe(port)).endswith(": 200")


async def test_the_tcp_probe_only_connects() -> None:
    with socket.create_server((HOST.address, 0)) as listener:  # never accepts
        port = listener.getsockname()[1]
        result = await TcpProbe(port, SECONDS)(HOST)
    assert result == f"connect to 127.0.0.1:{port}: connected"


async def test_a_refused_tcp_connection_is_unhealthy() -> None:
    with silent_port() as port, pytest.raises(NotListeningError) as caught:
        await TcpProbe(port, SECONDS)(HOST)
    assert caught.value.kind == "probe-failed"
    assert caught.value.destination is HOST
    assert caught.value.attempted == f"connect to 127.0.0.1:{port}"
    assert caught.value.text == "connection refused"


async def test_a_tcp_connection_times_out() -> None:
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind((HOST.address, 0))
        full.listen(0)
        for _ in range(2):  # further connections wait
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(ProbeFailedError, match=r"no connection after 0\.2 s") as caught:
            await TcpProbe(full.getsockname()[1], timedelta(seconds=0.2))(HOST)
    assert not isinstance(caught.value, NotListeningError)


@pytest.mark.parametrize("selected", [HttpProbe(1, "/", SECONDS), TcpProbe(1, SECONDS)])
async def test_an_ipv6_address_is_in_brackets(selected: Probe) -> None:
    host = Destination(address="::1", port=22, user="relight", machine_key="de-1-g1")
    with pytest.raises(ProbeFailedError, match=r"\[::1\]:1"):
        await selected(host)


async def test_a_patient_probe_waits_for_a_service_that_opens_its_port_late() -> None:
    refused = asyncio.Event()

    async def observed(destination: Destination) -> str:
        try:
            return await HttpProbe(port, "/healthz", SECONDS)(destination)
        except NotListeningError:
            refused.set()
            raise

    with silent_port() as port:
        probing = asyncio.create_task(PatientProbe(observed, SECONDS)(HOST))
        await refused.wait()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await respond("200 OK")(writer)
        writer.close()

    async with await asyncio.start_server(serve, HOST.address, port):
        assert (await probing).endswith(": 200")


async def test_a_patient_probe_gives_up_and_names_the_time() -> None:
    requests = 0

    async def refusing(destination: Destination) -> str:
        nonlocal requests
        requests += 1
        raise NotListeningError("connection refused", destination=destination)

    with pytest.raises(NotListeningError, match=r"connection refused, for 0\.5 s$"):
        await PatientProbe(refusing, timedelta(seconds=0.5))(HOST)
    assert requests == 3


async def test_a_probe_without_patience_asks_once() -> None:
    with silent_port() as port, pytest.raises(NotListeningError, match=r"connection refused$"):
        await PatientProbe(TcpProbe(port, SECONDS), timedelta(0))(HOST)


async def test_a_patient_probe_does_not_repeat_an_unhealthy_answer() -> None:
    heads: list[str] = []
    async with server(respond("503 Service Unavailable"), heads) as port:
        with pytest.raises(ProbeFailedError, match="503"):
            await PatientProbe(HttpProbe(port, "/healthz", SECONDS), SECONDS)(HOST)
    assert len(heads) == 1


def test_the_configured_probe_gets_its_settings() -> None:
    def configured(kind: Literal["http", "tcp", "command", "none"]) -> PatientProbe:
        return probe_of(
            kind, port=80, path="/up", command=("check",), timeout=SECONDS, patience=SECONDS
        )

    assert configured("http") == PatientProbe(HttpProbe(80, "/up", SECONDS), SECONDS)
    assert configured("tcp") == PatientProbe(TcpProbe(80, SECONDS), SECONDS)
    assert configured("command") == PatientProbe(CommandProbe(("check",), SECONDS), SECONDS)
    assert configured("none") == PatientProbe(NoProbe(), SECONDS)


async def test_without_a_probe_the_proof_says_so_and_asks_nobody() -> None:
    nobody = Destination(address="192.0.2.1", port=22, user="relight", machine_key="de-1-g1")
    told = await PatientProbe(NoProbe(), SECONDS)(nobody)
    assert told == "no probe: proven by its processes alone"


# ---------------------------------------------------------------- a hostile service


def send(head: str, body: bytes, times: int = 1) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 500 Broken\r\n{head}\r\n".encode())
        for _ in range(times):
            writer.write(body)
            await writer.drain()

    return answer


async def failure_of(answer: Answer) -> ProbeFailedError:
    async with server(answer) as port:
        with pytest.raises(ProbeFailedError) as caught:
            await HttpProbe(port, "/", timedelta(seconds=5))(HOST)
    return caught.value


async def test_an_answer_is_read_to_its_limit_and_shown_with_escapes() -> None:
    text = "\x1b]52;c;cHduZWQ=\x07 \x9b2J \u202eevil"
    error = await failure_of(send("", text.encode() + b" \xff" + b"x" * 65536, times=10_000))
    assert error.text.startswith(r"500 \x1b]52;c;cHduZWQ=\x07 \x9b2J \u202eevil \xff")
    assert len(error.text) == len("500 ") + ANSWER_CHARACTERS


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (
            "Content-Encoding: gzip, gzip\r\n",
            gzip.compress(gzip.compress(bytes(100_000_000), mtime=0), mtime=0),
        ),
        ("Content-Encoding: gzip\r\n", b"no gzip"),
        ("Content-Type: text/plain; charset=zlib\r\n", b"no zlib"),
        ("Content-Type: text/plain; charset=punycode\r\n", b"\xff" * 100),
        ("Content-Type: text/plain; charset=utf-16\r\n", b"\x00\xd8" * 100),
    ],
)
async def test_an_answer_is_neither_decompressed_nor_decoded_as_the_host_says(
    head: str, body: bytes
) -> None:
    error = await failure_of(send(head, body))
    assert error.text.startswith("500")
    assert error.text.isprintable()
    assert len(error.text) <= len("500 ") + ANSWER_CHARACTERS


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"X-Long: {'x' * 1_000_000}\r\n", b""),
        ("X-Many: x\r\n" * 100_000, b""),
        ("Transfer-Encoding: chunked\r\n", b"1;" + b"x" * 10_000 + b"\r\n.\r\n"),
    ],
)
async def test_lines_without_end_are_a_failed_probe(head: str, body: bytes) -> None:
    error = await failure_of(send(head, body, times=10_000))
    assert error.text == "Receive buffer too long"
    assert error.destination == HOST


async def test_a_wrong_line_is_cut() -> None:
    error = await failure_of(send("x')\"" * 1_000 + "\r\n", b""))
    assert error.text.startswith("illegal header line: x")
    assert len(error.text) <= 200


BLANKS = "A:" + " " * 60_000 + "\0"
"""A header for which a regular expression tries each blank with each other."""


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("')" + 'bytearray(b"' * 5_200 + "\r\n", b""),
        (BLANKS + "\r\n", b""),
        ("Transfer-Encoding: chunked\r\n", b"0\r\n" + BLANKS.encode() + b"\r\n\r\n"),
    ],
    ids=["as-in-an-error", "head", "trailer"],
)
async def test_no_line_stops_the_event_loop(head: str, body: bytes) -> None:
    before = time.thread_time()
    await failure_of(send(head, body))
    assert time.thread_time() - before < 2


async def test_heads_without_end_are_a_failed_probe() -> None:
    async def informs(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await writer.drain()

    assert (await failure_of(informs)).text == "Receive buffer too long"


async def test_the_target_of_a_redirection_is_cut_and_shown_with_escapes() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /\x1b[2J" + b"x" * 5_000 + b"\r\n\r\n")

    error = await failure_of(answer)
    assert len(error.text) < 400
    assert error.text.isprintable()
