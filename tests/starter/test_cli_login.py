"""`relight route ssh`, `exec`, `logs` with the real ssh: the host key has to be the derived one."""

import asyncio
import contextlib
import shutil
import signal

import asyncssh
import pytest

from relight.hosts.keys import derive_host_key, load_client_key, load_secret
from starter.local.home import new_client_key, new_host_key_secret
from tests.starter.stores import refused
from tests.store.fleets import recording, run_on, serve
from tests.support.ssh_server import Login, SshServer, listening, ssh_server

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh")


@pytest.fixture
def keys(tmp_path):
    """The files of a client key and of a host-key secret."""
    client_key, secret = tmp_path / "client_key", tmp_path / "secret"
    for file, text in ((client_key, new_client_key()), (secret, new_host_key_secret())):
        file.touch(mode=0o600)
        file.write_text(text)
    return client_key, secret


@pytest.fixture
def on_loopback(store):
    """A route whose machine is this computer."""
    serve(store, "east-1")
    here = recording("east-1-g1")
    here = here.model_copy(
        update={"machine": here.machine.model_copy(update={"address": "127.0.0.1"})}
    )
    store.routes.record_machine(here, run_on("east-1").activity())
    return store


def host_key(secret, machine_key="east-1-g1"):
    return asyncssh.import_private_key(derive_host_key(load_secret(secret), machine_key).private)


def logged_in(relight, keys, port):
    client_key, secret = keys
    return relight.where(
        RELIGHT_SSH__CLIENT_KEY=str(client_key),
        RELIGHT_SSH__HOST_KEY_SECRET=str(secret),
        RELIGHT_SSH__PORT=str(port),
    ).processes


@pytest.mark.parametrize("separator", [(), ("--",)])
async def test_a_command_runs_with_its_words_and_its_exit_code(
    relight, on_loopback, keys, separator
):
    client_key, secret = keys
    async with ssh_server(host_key(secret), load_client_key(client_key)) as server:
        cli = logged_in(relight, keys, server.port)
        ended = await cli(
            *("route", "exec", "-r", "is it odd?", "east-1"),
            *separator,
            *("sh", "-c", "echo one  two --json; exit 7"),
        )
        assert (ended.code, ended.out) == (7, "one two --json\n"), ended
    [event] = on_loopback.events.list(kind="route-login")
    assert (event.route_id, event.machine_key, event.reason) == (
        *("east-1", "east-1-g1"),
        "is it odd?",
    )


async def test_a_separator_without_a_command_is_refused(relight):
    refused(await relight("route", "exec", "east-1", "--"), 2, "name a command")


async def test_another_host_key_is_refused_and_nothing_runs(relight, on_loopback, keys):
    client_key, secret = keys
    another = host_key(secret, "east-2-g1")
    async with ssh_server(another, load_client_key(client_key)) as server:
        ended = await logged_in(relight, keys, server.port)("route", "exec", "east-1", "id")
    assert (ended.code, ended.out, server.commands) == (1, "", [])
    assert "host key" in ended.said.lower()
    assert "relight route verify east-1" in ended.said


async def test_a_shell_reads_what_is_typed(relight, on_loopback, keys):
    client_key, secret = keys
    async with ssh_server(host_key(secret), load_client_key(client_key)) as server:
        ended = await logged_in(relight, keys, server.port)("route", "ssh", "east-1")
    # Without a terminal it ends with its input; the server of the test runs no shell.
    assert server.commands == [""]
    assert "Traceback" not in ended.err


async def test_the_journal_is_followed_until_it_is_interrupted(relight, on_loopback, keys):
    client_key, secret = keys
    asked, go_on, cut = [], asyncio.Event(), asyncio.Event()

    async def run(process):
        asked.append(process.command)
        process.stdout.write(b"one\nan escape \x1b[2J\nlong " + b"x" * 300_000 + b"\nlast\n")
        await go_on.wait()
        process.stdout.write(b"new\n")
        with contextlib.suppress(asyncssh.Error):
            await process.stdin.read()
        # The input is closed from the start; the connection ends with the command.
        await process.wait_closed()
        cut.set()

    server = SshServer(load_client_key(client_key))
    async with listening(host_key(secret), lambda: Login(server), run) as port:
        cli = logged_in(relight, keys, port)
        words = ("route", "logs", "east-1", "--lines", "5", "--follow")
        async with asyncio.timeout(60), cli.running(*words) as following:
            lines = [(await following.stdout.readline()).decode() for _ in range(4)]
            assert lines[:2] == ["one\n", "an escape \\x1b[2J\n"]
            assert lines[2].startswith("long xxx")
            assert len(lines[2]) <= 16 * 1024 + 1
            assert lines[3] == "last\n"
            go_on.set()
            assert await following.stdout.readline() == b"new\n"
            following.send_signal(signal.SIGINT)
            assert await following.wait() == 130
            assert b"Traceback" not in await following.stderr.read()
            await cut.wait()
    [command] = asked
    assert command.endswith("relight-host journal 5 follow")


async def test_a_host_with_an_older_program_does_not_follow(relight, on_loopback, keys):
    client_key, secret = keys
    server = SshServer(load_client_key(client_key))

    async def run(process):
        process.exit(64)

    async with listening(host_key(secret), lambda: Login(server), run) as port:
        ended = await logged_in(relight, keys, port)("route", "logs", "east-1", "--follow")
    refused(ended, 3, "the relight-host of east-1-g1 is older than --follow")


async def test_without_keys_or_a_machine_nothing_is_tried(relight, one_faulted):
    refused(await relight("route", "exec", "east-1", "id"), 3, "RELIGHT_SSH__CLIENT_KEY")
    refused(await relight("route", "ssh", "nowhere-1"), 2, "nowhere-1")
    refused(await relight("route", "logs", "east-1"), 3, "RELIGHT_SSH__CLIENT_KEY")
