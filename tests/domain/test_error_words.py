"""Errors in words, as they come from the operating system, asyncio, httpx and ssl."""

import asyncio
import errno
import re
import socket
import ssl

import httpx
import pytest

from relight.domain.error_words import error_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EHOSTUNREACH, "Connect call failed ('192.0.2.7', 22)"), "no route to host"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service"),
        (TimeoutError(), "no answer in time"),
        (OSError("Multiple exceptions: [Errno 111] refused, [Errno 101] x"), "Multiple exceptions"),
        (ValueError("port out of range"), "port out of range"),
        (httpx.ReadError(""), "ReadError"),
    ],
)
def test_an_error_is_words(error, words):
    assert error_words(error).startswith(words)
    assert "Errno" not in error_words(error)


def test_what_the_system_said_is_found_behind_the_error_of_a_client():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(httpx.ConnectError) as caught:
            httpx.get(url)
    assert error_words(caught.value) == "connection refused"


async def test_a_refused_connection_of_asyncio_is_words():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Errno") as caught:
            await asyncio.open_connection("127.0.0.1", unused.getsockname()[1])
    assert error_words(caught.value) == "connection refused"


def test_an_error_of_tls_is_not_read_as_one_of_the_system():
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)")
    assert error_words(error) == "wrong version number"
    assert not re.search(r"SSL:|_ssl", error_words(error))
