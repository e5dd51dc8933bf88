"""A shell over a real SSH connection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncssh
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES
from relight.domain.text import visible
from relight.hosts import connections
from relight.hosts import shell as shell_module
from relight.hosts.connections import connect
from relight.hosts.errors import (
    AlgorithmsDifferError,
    CommandFailedError,
    CommandTimeoutError,
    ConnectionLostError,
    Destination,
    HostKeyMismatchError,
    HostNotReadyError,
    HostProgramMissingError,
    HostUnreachableError,
    LoginRefusedError,
    RemoteError,
    SudoRefusedError,
)
from relight.hosts.keys import derive_host_key
from relight.hosts.questions import Section
from relight.hosts.shell import SshShell
from starter.local.children import wait_until
from tests.support.ssh_server import (
    HANG,
    UNREAD,
    SshServer,
    link_to,
    ssh_server,
)

HOST_KEY = derive_host_key(bytes(32), "de-1-g1")
OTHER_HOST_KEY = derive_host_key(bytes(32), "de-1-g2")
CLIENT_KEY = asyncssh.generate_private_key("ssh-ed25519")

SOON = timedelta(seconds=10)
AT_ONCE = timedelta(milliseconds=300)


def destination(port: int) -> Destination:
    return Destination(address="127.0.0.1", port=port, user="relight", machine_key="de-1-g1")


async def refused(
    port: int,
    kind: type[RemoteError],
    *,
    client_key: asyncssh.SSHKey = CLIENT_KEY,
    timeout: timedelta = SOON,
) -> RemoteError:
    """Fail to connect, with an error that names the machine; return the error."""
    with pytest.raises(RemoteError) as caught:
        async with connect(destination(port), [client_key], [HOST_KEY.public], timeout):
            pytest.fail("it connected")
    assert type(caught.value) is kind
    assert str(caught.value).startswith("de-1-g1 (127.0.0.1): connect: ")
    return caught.value


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[SshServer]:
    async with ssh_server(asyncssh.import_private_key(HOST_KEY.private), CLIENT_KEY) as server:
        yield server


@pytest.fixture(scope="module")
async def shell(server: SshServer) -> AsyncIterator[SshShell]:
    async with connect(destination(server.port), [CLIENT_KEY], [HOST_KEY.public], SOON) as shell:
        yield shell


# ---------------------------------------------------------------- commands


async def test_a_command_returns_exit_code_and_output(shell: SshShell) -> None:
    script = "echo out; echo err >&2; exit 3"
    ended = await shell.run(["sh", "-c", script], timeout=SOON, check=False)
    assert ended.argv == ("sh", "-c", script)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (3, "out\n", "err\n")


async def test_a_failed_command_is_an_error_with_its_last_line(shell: SshShell) -> None:
    with pytest.raises(CommandFailedError) as caught:
        await shell.run(["sh", "-c", "echo first; echo last >&2; exit 3"], timeout=SOON)
    assert str(caught.value) == "de-1-g1 (127.0.0.1): run sh: exit code 3: last"
    assert (caught.value.exit_code, caught.value.stderr) == (3, "last\n")
    assert not caught.value.retryable


async def test_a_command_that_does_not_read_its_input_is_no_lost_connection(
    shell: SshShell,
) -> None:
    for _ in range(10):
        ended = await shell.run([UNREAD], stdin="x" * 20_000, timeout=SOON, check=False)
        assert ended.exit_code == 3


async def test_a_killed_command_is_an_error_with_the_signal(shell: SshShell) -> None:
    with pytest.raises(CommandFailedError, match="killed by signal 9") as caught:
        await shell.run(["sh", "-c", "kill -9 $$"], timeout=SOON)
    assert caught.value.exit_code == -9


@pytest.mark.parametrize("script", ["kill -9 $$", "sh -c 'kill -9 $$'; exit $?"])
async def test_a_killed_call_as_root_may_be_retried(
    shell: SshShell, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """Whether the user's shell was killed too, or reports the signal."""
    monkeypatch.setattr(shell_module, "SUDO", ("sh", "-c", script))
    for check in (True, False):
        with pytest.raises(ConnectionLostError, match="killed by signal 9") as caught:
            await shell.run(["relight-host", "observe"], timeout=SOON, check=check, sudo=True)
        assert caught.value.retryable


async def test_sudo_prefixes_the_command_and_never_prompts(
    shell: SshShell, server: SshServer
) -> None:
    ended = await shell.run(["id", "-u"], timeout=SOON, check=False, sudo=True)
    assert ended.argv == ("env", "LC_ALL=C", "sudo", "-n", "--", "id", "-u")
    assert server.commands[-1] == "env LC_ALL=C sudo -n -- id -u"


async def test_an_error_names_the_command_not_sudo(shell: SshShell) -> None:
    with pytest.raises(RemoteError, match="run no-such-program:"):
        await shell.run(["no-such-program"], timeout=SOON, sudo=True)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("sudo: a password is required", SudoRefusedError),
        ("Password change required but no TTY available.", LoginRefusedError),
        ("sudo: /usr/local/sbin/relight-host: command not found", HostProgramMissingError),
        ("sudo-rs: words of another version", SudoRefusedError),
        ("This account is currently not available.", LoginRefusedError),
    ],
)
async def test_a_command_that_sudo_does_not_run_is_an_error_with_and_without_check(
    shell: SshShell, monkeypatch: pytest.MonkeyPatch, line: str, kind: type[RemoteError]
) -> None:
    monkeypatch.setattr(shell_module, "SUDO", ("sh", "-c", f"echo '{line}' >&2; exit 1"))
    for check in (True, False):
        with pytest.raises(RemoteError) as caught:
            await shell.run(["relight-host", "observe"], timeout=SOON, check=check, sudo=True)
        error = caught.value
        assert type(error) is kind
        assert str(error) == f"de-1-g1 (127.0.0.1): run relight-host: {line}"
        assert (error.argv[-1], error.exit_code, error.stderr) == ("observe", 1, f"{line}\n")
        assert not error.retryable
    ended = await shell.run(["sh", "-c", f"echo '{line}' >&2; exit 1"], timeout=SOON, check=False)
    assert ended.exit_code == 1  # sudo was not used


@pytest.mark.parametrize(
    ("data", "printed"),
    [
        ("text\nü\n", "text\nü\n"),
        (b"bytes\0\xff", r"bytes\x00\xff"),
        ("x" * 1_000_000, "x" * 1_000_000),
    ],
)
async def test_a_command_reads_its_input(shell: SshShell, data: str | bytes, printed: str) -> None:
    assert (await shell.run(["cat"], stdin=data, timeout=SOON)).stdout == printed


@pytest.mark.parametrize("data", [None, "", b""])
async def test_a_command_without_input_reads_nothing(
    shell: SshShell, data: str | bytes | None
) -> None:
    assert (await shell.run(["cat"], stdin=data, timeout=SOON)).stdout == ""


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_arguments_arrive_unchanged(shell: SshShell, arguments: list[str]) -> None:
    script = r'for argument; do printf "%s\0" "$argument"; done'
    ended = await shell.run(["sh", "-c", script, "sh", *arguments], timeout=SOON)
    assert ended.stdout == visible("".join(f"{argument}\0" for argument in arguments))


@pytest.mark.parametrize(
    "argument",
    ["$HOME", "`id`", "$(id)", "a; exit 9", "'", '"', "\\", "*", "-n", "", " ", "a\nb", "é\u2028"],
)
async def test_a_hostile_argument_is_quoted(shell: SshShell, argument: str) -> None:
    ended = await shell.run(["printf", "%s|", argument, argument], timeout=SOON)
    assert ended.stdout == visible(f"{argument}|{argument}|")


async def test_many_commands_share_one_connection(shell: SshShell, server: SshServer) -> None:
    before = server.logins
    ended = await asyncio.gather(
        *(shell.run(["echo", str(number)], timeout=SOON) for number in range(9))
    )
    assert [int(one.stdout) for one in ended] == list(range(9))
    assert server.logins == before


async def test_several_questions_are_one_command(shell: SshShell, server: SshServer) -> None:
    before = len(server.commands)
    answers = await shell.ask(
        {"good": ["echo", "yes"], "bad": ["sh", "-c", "echo no >&2; exit 3"]}, timeout=SOON
    )
    assert answers == {"good": Section("yes", 0), "bad": Section("no", 3)}
    assert len(server.commands) == before + 1


async def test_a_command_that_times_out_leaves_the_connection_usable(
    shell: SshShell,
) -> None:
    with pytest.raises(CommandTimeoutError, match=r"it did not end within 0\.3 s") as caught:
        await shell.run([HANG], timeout=AT_ONCE)
    assert caught.value.retryable
    assert (await shell.run(["echo", "here"], timeout=SOON)).stdout == "here\n"


@pytest.mark.parametrize("seconds", [0, 0.05], ids=["while it opens", "while it runs"])
async def test_a_command_that_timed_out_keeps_no_channel(
    shell: SshShell, server: SshServer, seconds: float
) -> None:
    """OpenSSH allows ten channels per connection."""
    for _ in range(3):
        with pytest.raises(CommandTimeoutError):
            await shell.run([HANG], timeout=timedelta(seconds=seconds))
    await shell.run(["true"], timeout=SOON)

    async def all_closed() -> bool:
        return not server.connections[-1]._channels

    await wait_until(all_closed, SOON)


# ---------------------------------------------------------------- the connection


async def test_a_connection_that_is_cut_during_a_command_is_lost() -> None:
    key = asyncssh.import_private_key(HOST_KEY.private)
    async with (
        ssh_server(key, CLIENT_KEY) as server,
        connect(destination(server.port), [CLIENT_KEY], [HOST_KEY.public], SOON) as shell,
    ):
        running = asyncio.create_task(shell.run([HANG], timeout=SOON))
        await server.hangs.wait()
        server.cut()
        with pytest.raises(ConnectionLostError) as caught:
            await running
        assert caught.value.retryable
        with pytest.raises(ConnectionLostError):
            await shell.run(["true"], timeout=SOON)


async def test_a_silent_connection_is_given_up(
    server: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEEPALIVE", timedelta(milliseconds=50))
    server.hangs.clear()
    async with link_to(server.port) as link:
        async with connect(destination(link.port), [CLIENT_KEY], [HOST_KEY.public], SOON) as shell:
            running = asyncio.create_task(shell.run([HANG], timeout=SOON))
            await server.hangs.wait()
            link.open.clear()
            with pytest.raises(ConnectionLostError):
                await running
        link.open.set()


# ---------------------------------------------------------------- connecting


async def test_another_host_key_is_refused_before_the_login() -> None:
    key = asyncssh.import_private_key(OTHER_HOST_KEY.private)
    async with ssh_server(key, CLIENT_KEY) as server:
        error = await refused(server.port, HostKeyMismatchError)
        assert (server.logins, server.commands) == (0, [])
    assert not error.retryable


async def test_a_host_key_of_another_type_is_refused() -> None:
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    async with ssh_server(key, CLIENT_KEY) as server:
        error = await refused(server.port, HostKeyMismatchError)
        assert (server.logins, server.commands) == (0, [])
    assert not error.retryable


@pytest.mark.parametrize(
    "algorithms",
    [
        {"kex_algs": ["diffie-hellman-group1-sha1"]},
        {"encryption_algs": ["3des-cbc"]},
        {"mac_algs": ["hmac-md5"], "encryption_algs": ["aes128-ctr"]},
    ],
    ids=lambda algorithms: next(iter(algorithms)),
)
async def test_a_host_that_allows_no_common_algorithm_has_a_fault_of_its_own(
    algorithms: dict[str, list[str]],
) -> None:
    key = asyncssh.import_private_key(HOST_KEY.private)
    async with ssh_server(key, CLIENT_KEY, algorithms=algorithms) as server:
        error = await refused(server.port, AlgorithmsDifferError)
        assert (server.logins, server.commands) == (0, [])
    rule = RULES[error.kind]
    assert (rule.retried, rule.remedy, rule.locks_out) == (False, Remedy.ASK, True)
    assert next(iter(algorithms.values()))[0] in error.text


@pytest.mark.parametrize(
    "algorithms",
    [
        {"encryption_algs": ["aes256-gcm@openssh.com"]},
        {"encryption_algs": ["aes256-ctr"]},
        {"kex_algs": ["ecdh-sha2-nistp521"]},
        {"kex_algs": ["ecdh-sha2-nistp384"]},
    ],
    ids=lambda algorithms: str(next(iter(algorithms.values()))[0]),
)
async def test_a_host_that_allows_one_modern_algorithm_is_reached(
    algorithms: dict[str, list[str]],
) -> None:
    key = asyncssh.import_private_key(HOST_KEY.private)
    async with (
        ssh_server(key, CLIENT_KEY, algorithms=algorithms) as server,
        connect(destination(server.port), [CLIENT_KEY], [HOST_KEY.public], SOON),
    ):
        assert server.logins == 1


async def test_another_client_key_is_refused(server: SshServer) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    error = await refused(server.port, LoginRefusedError, client_key=other)
    assert not error.retryable


@pytest.mark.parametrize("state", ["booting up", "going down"])
async def test_a_host_that_boots_or_shuts_down_is_not_ready(state: str) -> None:
    banner = f"System is {state}. Unprivileged users are not permitted to log in yet.\n"
    key = asyncssh.import_private_key(HOST_KEY.private)
    async with ssh_server(key, CLIENT_KEY, banner) as server:
        error = await refused(server.port, HostNotReadyError)
    assert error.retryable
    assert error.text == banner.strip()


async def test_a_port_that_does_not_listen_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # without listening
        error = await refused(held.getsockname()[1], HostUnreachableError)
    assert error.retryable


async def test_a_silent_server_is_unreachable_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = asyncio.get_running_loop().time()
        error = await refused(port, HostUnreachableError, timeout=AT_ONCE)
    assert "no SSH login after 0.3 s" in str(error)
    assert asyncio.get_running_loop().time() - began < 3


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n"])
async def test_a_server_that_closes_the_connection_is_unreachable(data: bytes) -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        assert (await refused(port, HostUnreachableError)).retryable


async def test_the_local_users_ssh_configuration_is_not_used(
    server: SshServer, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n  HostName 127.0.0.2\n  User other\n")
    (home / ".ssh" / "known_hosts").write_text(f"* {OTHER_HOST_KEY.public}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "no-agent"))
    async with connect(destination(server.port), [CLIENT_KEY], [HOST_KEY.public], SOON) as shell:
        assert (await shell.run(["echo", "here"], timeout=SOON)).stdout == "here\n"
