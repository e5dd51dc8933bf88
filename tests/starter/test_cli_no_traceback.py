"""No wrong setting, unreachable store or unreachable Temporal ends a command with a traceback."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from starter.local.home import write_env
from tests.starter.in_process import InProcess
from tests.support.command_line import Ended

NOWHERE = "127.0.0.1:9"
"""Nothing listens there."""


async def explained(relight, code: int, *texts: str, **variables: str) -> None:
    """Check that a command that reads and one that needs Temporal say what is wrong."""
    cli = relight.where(**variables)
    for words in (("route", "show", "east-1"), ("reconcile", "--dry-run")):
        ended = await cli(*words)
        assert ended.code == code, ended
        for text in texts:
            assert text in ended.said  # Which has no traceback.


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        (2, "RELIGHT_STORE_RETENTION", "soon"),
        (2, "RELIGHT_SSH__PORT", "abc"),
        (2, "RELIGHT_BREAKER__OPEN_SHARE", "7"),
        (2, "RELIGHT_SERVICE__PROBE", "ping"),
        (2, "RELIGHT_CONNECTIVITY_CHECKS", "deb.debian.org"),
        (2, "RELIGHT_RECONCILE__STRATEGY__WAVES", '["2", "25%", "10%"]'),
        (3, "RELIGHT_GATE_CHECKS", "nope"),
        (3, "RELIGHT_RECONCILE", "x"),
    ],
)
async def test_a_wrong_setting_is_named_by_its_variable(relight, store, code, name, value):
    named = "RELIGHT_*" if value == "x" else name
    await explained(relight, code, named, **{name: value})


GROWING = "wave 2 (1) is not larger than wave 1 (2): each wave's size is the number of routes"


@pytest.mark.parametrize("words", [("worker",), ("schedule", "apply"), ("route", "list")])
async def test_waves_that_do_not_grow_are_refused_wherever_they_are_set(relight, store, words):
    """A schedule starts reconcile runs with the settings of the worker."""
    set_so = {"RELIGHT_RECONCILE": '{"strategy": {"waves": ["2", "1"]}}'}
    ended = await relight.where(**set_so).processes(*words)
    assert (ended.code, ended.out) == (3 if words == ("worker",) else 2, "")
    assert GROWING in ended.said
    write_env(relight.home, {"RELIGHT_RECONCILE__STRATEGY__WAVES": '["2", "1"]'})
    assert GROWING in (await relight("settings", "get")).said


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"postgresql://relight@{NOWHERE}/fleet", "connection failed"),
        ("postgresql://relight@no-such-host.invalid/fleet", "no-such-host.invalid"),
        ("sqlite:///FOLDER", "unable to open database file"),
        ("sqlite:///GARBAGE", "file is not a database"),
        ("sqlite:////nowhere/fleet.db", "/nowhere does not exist"),
    ],
    ids=["refused", "no host", "a folder", "no database", "no folder"],
)
async def test_a_store_that_cannot_be_used_is_named(relight, tmp_path, url, text):
    garbage = tmp_path / "garbage.db"
    garbage.write_text("this is no database, but a text of more than a hundred bytes\n" * 9)
    url = url.replace("FOLDER", str(tmp_path)).replace("GARBAGE", str(garbage))
    variables = {"RELIGHT_STORE_URL": url, "TEMPORAL_ADDRESS": NOWHERE}
    ended = await relight.where(**variables)("fleet", "status")
    assert (ended.code, ended.out) == (3, ""), ended
    assert text in ended.said
    upgraded = await relight.where(**variables)("store", "upgrade")
    assert upgraded.code == 3
    assert text in upgraded.said


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (NOWHERE, "connection refused"),
        ("no-such-host.invalid:7233", "there is no host of this name"),
        ("127.0.0.1:port", "HOST:PORT"),
    ],
    ids=["refused", "no host", "no port"],
)
async def test_a_temporal_that_does_not_answer_is_named(relight, store, address, text):
    for words in (("reconcile", "--dry-run"), ("schedule", "list"), ("worker",)):
        cli = relight.where(TEMPORAL_ADDRESS=address)
        ended = await (cli.processes if words == ("worker",) else cli)(*words)
        assert ended.code == 3, ended
        assert text in ended.said
        assert address in ended.said


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_a_home_of_another_user_is_refused_with_its_path(relight, store, tmp_path):
    relight.home.chmod(0o700)
    script = tmp_path / "as_nobody.py"
    script.write_text(
        "import os, sys\n"
        "from starter.cli import run\n"
        "from relight.domain.fault.table import RULES\n"
        "import starter.cli.fleet, relight.store.store, alembic.command, relight.store.migrate\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "code = run(['fleet', 'status'])\n"
        "sys.stderr.flush(); os._exit(code)\n"
    )
    ended = await _python(relight, script)
    assert ended.code == 3, ended
    assert str(relight.home) in ended.said


async def test_an_interrupt_while_a_connection_is_given_back_prints_nothing_else(
    relight, store, tmp_path
):
    script = tmp_path / "interrupted.py"
    script.write_text(
        "import sys\n"
        "from sqlalchemy.pool.base import _ConnectionFairy\n"
        "from starter.cli import main\n"
        "def interrupted(*args, **kwargs):\n"
        "    raise KeyboardInterrupt\n"
        "_ConnectionFairy._reset = interrupted\n"
        "sys.argv = ['relight', 'events', '--follow']\n"
        "main()\n"
    )
    ended = await _python(relight, script)
    assert (ended.code, ended.out, ended.err) == (130, "", ""), ended


async def _python(relight: InProcess, script: Path):
    """Run a script as a command line's process, with its environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "RELIGHT_HOME": str(relight.home), "PYTHONPATH": "."},
        cwd=Path(__file__).parents[2],
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())
