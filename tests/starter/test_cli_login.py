"""`relight route ssh`, `exec`, `logs` with the real ssh: the host key has to be the derived one."""

import shutil

import asyncssh
import pytest

from relight.hosts.keys import derive_host_key, load_client_key, load_secret
from starter.local.home import new_client_key, new_host_key_secret
from tests.starter.stores import refused
from tests.store.fleets import recording, run_on, serve
from tests.support.ssh_server import ssh_server

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


async def test_a_command_runs_with_its_words_and_its_exit_code(relight, on_loopback, keys):
    client_key, secret = keys
    async with ssh_server(host_key(secret), load_client_key(client_key)) as server:
        cli = logged_in(relight, keys, server.port)
        ended = await cli(
            *("route", "exec", "-r", "is it odd?", "east-1"),
            *("sh", "-c", "echo one  two --json; exit 7"),
        )
        assert (ended.code, ended.out) == (7, "one two --json\n"), ended
    [event] = on_loopback.events.list(kind="route-login")
    assert (event.route_id, event.machine_key, event.reason) == (
        *("east-1", "east-1-g1"),
        "is it odd?",
    )


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


async def test_without_keys_or_a_machine_nothing_is_tried(relight, one_faulted):
    refused(await relight("route", "exec", "east-1", "id"), 3, "RELIGHT_SSH__CLIENT_KEY")
    refused(await relight("route", "ssh", "nowhere-1"), 2, "nowhere-1")
    refused(await relight("route", "logs", "east-1"), 3, "RELIGHT_SSH__CLIENT_KEY")
