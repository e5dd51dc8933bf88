"""On which TCP ports a service listens, as far as its sockets and its arguments say. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relight.inspection.unit_file import words_of

EVERY_ADDRESS: Final = frozenset({"", "*", "0.0.0.0", "::", "[::]"})  # noqa: S104 - what is read

_ON_THE_HOST = re.compile(r"localhost|127(\.\d+){3}|\[?::1\]?")

_PORT = {
    "port",
    "p",
    *(f"{word}port" for word in ("http", "listen", "tcp", "server", "web", "api")),
}
_LISTEN = {"listen", "bind"}
_ADDRESS = {*_LISTEN, "addr", "address", "host", "l", "a", "b"}
_OF_OTHERS = {
    *("advertise", "advertised", "remote", "peer", "peers", "join", "upstream", "backend"),
    *("connect", "proxy", "target", "dest", "destination", "forward", "cluster", "master", "from"),
    *("replica", "replicaof", "export", "import", "min", "max", "range"),
}
"""Words of options that are about the ports of other services."""

_OF_OPERATORS = {"admin", "metrics", "debug", "management", "status", "monitor", "pprof", "control"}
"""Words of options that are about another port than the one that the service is there for."""

_OPTION = re.compile(r"--?([A-Za-z][A-Za-z0-9_.-]*)(?:=(.*))?", re.DOTALL)
_SHORT = re.compile(r"-([pla])([0-9:*[].*)")
_WITH_PORT = re.compile(r"(?:[a-z]+://)?(\[[^]]*\]|[^:]*):(\d{1,5})/?")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Listening:
    """A port on which a service listens.

    Attributes:
        port: of TCP.
        host: the address; one of `EVERY_ADDRESS` if each of the host's.
        source: what says so, as in `--port 8080`.
        is_main: whether it is the one that the service is there for.
    """

    port: int
    host: str
    source: str
    is_main: bool = True

    @property
    def is_public(self) -> bool:
        """Whether other hosts reach it."""
        return self.host in EVERY_ADDRESS

    @property
    def is_local(self) -> bool:
        """Whether the host itself alone reaches it."""
        return _ON_THE_HOST.fullmatch(self.host) is not None


def listening_of_socket(values: Sequence[str]) -> list[Listening]:
    """Return the ports of a socket unit; `ListenStream` has these values."""
    found = []
    for value in values:
        host, colon, port = value.rpartition(":")
        if _is_port(port) and (colon or value.isdigit()):
            found.append(Listening(int(port), host, f"ListenStream={value}"))
    return found


def listening_of_command(argv: Sequence[str]) -> list[Listening]:
    """Return the ports that the arguments of a service name."""
    found: list[Listening] = []
    host = ""
    for name, value, source in _options(argv):
        words = {*re.split(r"[-_.]", name.lower())}
        names_port = bool(words & _PORT)
        if words & _OF_OTHERS or not (names_port or words & _ADDRESS):
            continue
        is_main = not words & _OF_OPERATORS
        if _is_port(value) and words & (_PORT | _LISTEN):
            found.append(Listening(int(value), "", source, is_main))
        elif (with_port := _WITH_PORT.fullmatch(value)) and _is_port(with_port[2]):
            found.append(Listening(int(with_port[2]), with_port[1], source, is_main))
        elif not names_port and is_main and re.fullmatch(r"[\[\]0-9A-Za-z.:*-]+", value):
            host = value
    # An address in an option of its own is that of all ports.
    return [
        Listening(each.port, host, each.source, each.is_main) if not each.host and host else each
        for each in found
    ]


def expanded(argv: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Return arguments with the values of variables, as systemd inserts them."""
    words: list[str] = []
    for word in argv:
        if (alone := re.fullmatch(r"\$(\w+)", word)) is not None:
            words.extend(words_of(variables.get(alone[1], "")))
        else:
            words.append(_VARIABLE.sub(lambda name: variables.get(name[1] or name[2], ""), word))
    return words


def _options(argv: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the name and the value of each option, and how both are written."""
    for number, word in enumerate(argv[1:], 1):
        following = argv[number + 1] if number + 1 < len(argv) else ""
        short, option = _SHORT.fullmatch(word), _OPTION.fullmatch(word)
        if short is not None:
            yield short[1], short[2], word
        elif option is not None and option[2] is not None:
            yield option[1], option[2], word
        elif option is not None and not following.startswith("-"):
            yield option[1], following, f"{word} {following}"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536
