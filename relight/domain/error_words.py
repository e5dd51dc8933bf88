"""An error of the operating system or of a client, in words: `no route to host`."""

import os
import re
import socket
import ssl

_NUMBER = re.compile(r"\[Errno -?\d+\] ")
_SOURCE = re.compile(r"^\[[^\]]*\] |\s*\(_ssl\.c:\d+\)$")


def error_words(error: BaseException) -> str:
    """Return what an error says to a person, without numbers and names of the program.

    What the operating system says goes first, also where a client has hidden it in another error:
    `connection refused`, `no route to host`, `name or service not known`. A timeout is
    `no answer in time`. An error without a text is named by its type.
    """
    words, timed_out = "", False
    cause: BaseException | None = error
    while cause is not None:
        words = _system_words(cause) or words
        timed_out = timed_out or isinstance(cause, TimeoutError)
        cause = cause.__cause__ or cause.__context__
    if words:
        return words
    text = _NUMBER.sub("", str(error)).strip()
    return text or ("no answer in time" if timed_out else type(error).__name__)


def _system_words(error: BaseException) -> str:
    """Return the words of an operating system's error; empty if it is none."""
    match error:
        case ssl.SSLError():
            return _SOURCE.sub("", _NUMBER.sub("", str(error)))
        case socket.gaierror():
            return _lower_first(error.strerror or "")
        case OSError(errno=int(number)):
            # asyncio replaces strerror with a text of its own, which names the address again.
            return _lower_first(os.strerror(number))
        case _:
            return ""


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
