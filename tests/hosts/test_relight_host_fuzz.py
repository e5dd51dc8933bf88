"""Random calls of `relight-host`: a call that it does not offer has no effect.

RELIGHT_FUZZ_CASES says how many. Every program records its arguments, so an offered call shows
what it would have done.
"""

import os
import random
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from relight.hosts import host_program
from tests.support.apt_repository import PACKAGE
from tests.support.apt_root import UNIT, Answer, AptRoot
from tests.support.host_program_calls import URLS, Call, is_offered, random_call

pytestmark = pytest.mark.attack("bad arguments for the host program")

CASES = int(os.environ.get("RELIGHT_FUZZ_CASES", "1000"))
BATCH = 500

_END, _LAST = "\x1f", "\x1e"

_READ_ONLY = {
    *(
        "apt-cache",
        "apt-config",
        "cat",
        "command",
        "curl",
        "dpkg-deb",
        "dpkg-query",
        "find",
        "grep",
    ),
    *("id", "journalctl", "readlink", "sha256sum", "sleep", "tail", "timeout", "xargs"),
    *("cut", "flock", "head", "sed", "sort", "stat", "tr"),
}
_INSTALLING, _SERVING = {"install", "change", "dry-run"}, {"serve", "change"}
_CHANGING = {"apt-get", "chmod", "dpkg", "mkdir", "mktemp", "rm", "systemctl", "systemd-run"}


def test_random_calls_do_only_what_is_offered(tmp_path: Path) -> None:
    host = AptRoot(tmp_path / "host")
    host.configure(URLS)
    for name in (*_READ_ONLY - {"command"}, *_CHANGING):
        # One write, since programs of a pipe record themselves at the same time.
        record = f'for word; do line="$line$word{_END}"; done; printf "%s" "$line{_LAST}"'
        host.put_program(name, f"line={name}{_END}; {record} >>{host.trace}")
    source = random.Random(14)
    offered = 0
    for _ in range(CASES // BATCH):
        calls = [random_call(source) for _ in range(BATCH)]
        before = host.files()
        for call, answer in zip(calls, host.call_all(calls), strict=True):
            if is_offered(call):
                offered += 1
                _check_effects(call, answer)
            else:
                assert (answer.exit_code, answer.stdout, answer.trace) == (64, "", ""), call
                assert answer.stderr.startswith("relight-host: "), call
        after = host.files()
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        # An installation that does not start the service says so to the package's scripts.
        held = {str(host.root / each) for each in ("usr/sbin", "usr/sbin/policy-rc.d")}
        assert changed <= {str(host.root), str(host.trace), *held}
    assert CASES / 10 < offered < CASES / 2  # both kinds of call were made


def _check_effects(call: Call, answer: Answer) -> None:
    for line in answer.trace.split(f"{_END}{_LAST}")[:-1]:
        program, *words = line.split(_END)
        if program in _READ_ONLY:
            continue
        assert _is_offered_effect(call, program, words), (
            f"{call} ran {shlex.join([program, *words])}"
        )


def _is_offered_effect(call: Call, program: str, words: Sequence[str]) -> bool:
    """Return whether a command is part of what a call asks for."""
    verb, last = call[0], tuple(words)
    if program == "systemctl":
        return words[0] == "show" or (
            (verb in _SERVING and (last == ("daemon-reload",) or last[-2:] == ("--", UNIT)))
            or (verb in {"forget", "stop"} and last[-2:] == ("--", call[1]))
        )
    if program == "systemd-run":
        return verb == "swap" and last[-len(call[3:]) :] == ("change", *call[4:])
    if verb in {"host-key", "configure", "stage"}:
        return program in {"mkdir", "mktemp", "rm"}  # its own folder; nothing is read
    if program == "dpkg":
        return last == ("--verify", "--", PACKAGE)
    if program == "apt-get":
        target = ("install", "--", f"{PACKAGE}={call[-2]}")
        installs = "--no-remove" in last and last[-3:] == target
        return verb in _INSTALLING and (installs or last[-1] == "update")
    return verb in _INSTALLING or last[0] == "-f"  # files of the program's own


def test_the_fuzz_knows_every_verb() -> None:
    source = random.Random(0)
    verbs = {call[0] for call in (random_call(source) for _ in range(2000)) if is_offered(call)}
    documented = {
        line.split()[2]
        for line in host_program.source().splitlines()
        if line.startswith("#   relight-host ")
    }
    # A host that fetches by URL, as the one here, refuses each call of `receive`.
    assert verbs | {"receive"} == documented
