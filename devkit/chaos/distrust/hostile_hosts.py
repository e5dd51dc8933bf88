"""Hosts that others control: the shell of the control plane's user there is a hostile program."""

import random
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from devkit.chaos.distrust.fleet import DistrustFleet

_ANSWER = 'answer=$(/bin/sh "$@"); code=$?'

WAYS: Mapping[str, tuple[int, str]] = {
    "floods stdout": (3, "exec yes"),
    "floods stderr": (3, "exec yes >&2"),
    "one long line": (3, "head -c 3000000 /dev/zero | tr '\\0' x; exit 1"),
    "escapes": (
        3,
        """printf '\\033]52;c;cHduZWQ=\\007\\2332J\\302\\2332J\\342\\200\\256evil\\377\\n' >&2
        exit 1""",
    ),
    "escapes beside the answer": (
        2,
        """printf '\\033]52;c;cHduZWQ=\\007\\2332J\\n'; exec /bin/sh "$@" """,
    ),
    "forged sections": (
        3,
        """printf ' x\\nunits 0\\n ii 9.9\\npackage 0\\nfile 0\\nboot 0\\nverify 0\\n'
        exec /bin/sh "$@" """,
    ),
    "noise": (2, "head -c 8192 /dev/urandom; exit 0"),
    "claims a newer package": (
        4,
        f"""{_ANSWER}; printf '%s\\n' "$answer" | sed 's/0\\.0\\.7[0-9]/0.0.99/g'; exit $code""",
    ),
    "claims an older package": (
        4,
        f"""{_ANSWER}; printf '%s\\n' "$answer" | sed 's/0\\.0\\.7[0-9]/0.0.11/g'; exit $code""",
    ),
    "claims that all is well": (
        2,
        f"""{_ANSWER}; printf '%s\\n' "$answer"; exit 0""",
    ),
    "drops the connection": (3, "kill -KILL $PPID"),
    "hangs": (1, "exec sleep 600"),
}
"""What the program does for each command, with its weight."""

_INSTALL = """\
cat >/usr/local/sbin/hostile && chmod 755 /usr/local/sbin/hostile
getent passwd relight | cut -d: -f7 >/root/shell-before
usermod --shell /usr/local/sbin/hostile relight"""
_UNDO = 'usermod --shell "$(cat /root/shell-before)" relight; pkill -KILL -u relight; true'
_STOPPED = ("pkill -STOP -o -x sshd", "pkill -CONT -x sshd")


@asynccontextmanager
async def hostile_hosts(fleet: DistrustFleet, rng: random.Random) -> AsyncIterator[str]:
    """Let one host or several be hostile until the block ends. They are not healthy."""
    ways = [*WAYS, "accepts and says nothing"]
    weights = [*(weight for weight, _ in WAYS.values()), 2]
    (way,) = rng.choices(ways, weights)
    count = len(fleet.judge.in_use)
    keys = fleet.some(rng, *rng.choice([(1, 1), (1, 2), (1, count)]))
    do, undo = _STOPPED
    if way in WAYS:
        program = shlex.quote(f"#!/bin/sh\n{WAYS[way][1]}\n")
        do, undo = f"printf %s {program} | {{ {_INSTALL}\n}}", _UNDO
    fleet.judge.broke(keys)
    await fleet.on_hosts(keys, do)
    try:
        yield f"{way} ({len(keys)} of {count})"
    finally:
        await fleet.on_hosts(keys, undo)
