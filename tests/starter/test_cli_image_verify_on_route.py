"""`relight image verify ROUTE` with the real ssh: a machine without an answer is no violation."""

import shutil

import pytest

from relight.hosts.keys import load_client_key
from relight.images.contract_file import parse_contract
from relight.images.requirements import Subject, requirements
from starter.cli import image_verify
from tests.starter.stores import refused
from tests.starter.test_cli_login import host_key, keys, on_loopback
from tests.support.ssh_server import Login, SshServer, listening, ssh_server

__all__ = ["keys", "on_loopback"]

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh")

HOLDS = "packages: [dpkg]\ndirectories:\n  - path: /etc\n"
VIOLATED = f"{HOLDS}  - path: /no/such/folder\nusers: [{{name: nobody-of-here}}]\n"


@pytest.fixture
def verify(relight, on_loopback, keys, tmp_path):
    """Verify the machine of east-1 at a port of this computer."""
    client_key, secret = keys

    async def verify(port, contract=HOLDS, *words, route="east-1"):
        file = tmp_path / "mine.yaml"
        file.write_text(contract)
        cli = relight.where(
            RELIGHT_SSH__CLIENT_KEY=str(client_key),
            RELIGHT_SSH__HOST_KEY_SECRET=str(secret),
            RELIGHT_SSH__PORT=str(port),
        )
        return await cli("image", "verify", route, "--contract", str(file), *words)

    return verify


@pytest.fixture
async def server(keys):
    """An SSH server that runs what it is told on this computer."""
    client_key, secret = keys
    async with ssh_server(host_key(secret), load_client_key(client_key)) as server:
        yield server


def answering(keys, run):
    """Serve SSH with this answer to each command."""
    client_key, secret = keys
    server = SshServer(load_client_key(client_key))
    return listening(host_key(secret), lambda: Login(server), run)


def answer(*lines, contract=HOLDS):
    asked = len(requirements(parse_contract(contract.encode(), "mine.yaml"), Subject.MACHINE))
    return "".join(f"{line}\n" for line in (*lines, f"end\t{asked}")).encode()


async def test_a_machine_that_holds_all_ends_with_0(verify, server, on_loopback):
    ended = await verify(server.port)
    assert (ended.code, ended.out) == (
        0,
        "east-1: no violation of the 4 requirements of mine.yaml\n",
    ), ended
    assert server.commands == ["sh -s"]
    assert on_loopback.events.list(kind="route-login") == []


async def test_each_violated_line_is_named_and_ends_with_1(verify, server):
    ended = await verify(server.port, VIOLATED)
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "mine.yaml:4 directories: /no/such/folder is not a directory: absent",
        "mine.yaml:5 users: there is no user nobody-of-here",
        "east-1: 2 of the 9 requirements of mine.yaml do not hold",
    ]


async def test_programs_get_the_same(verify, server):
    ended = await verify(server.port, VIOLATED, "--json")
    assert ended.code == 1
    assert (ended.json["subject"], ended.json["contract"]) == ("east-1", "mine.yaml")
    assert (ended.json["checked"], ended.json["unseen"]) == (9, [])
    assert [each["where"] for each in ended.json["violations"]] == ["mine.yaml:4", "mine.yaml:5"]


async def test_what_the_account_may_not_see_is_named_apart(verify, keys):
    async def run(process):
        process.stdout.write(answer("3\tdirectory /etc\t?"))
        process.exit(0)

    async with answering(keys, run) as port:
        ended = await verify(port)
    assert ended.code == 0
    assert "not checked: mine.yaml:3 directories: /etc can be seen by root only" in ended.err
    assert "; 1 can be seen by root only" in ended.out


async def test_what_a_host_prints_cannot_drive_the_terminal(verify, keys):
    async def run(process):
        process.stdout.write(answer("3\tdirectory /etc\ta \x1b[2J\x07link"))
        process.stderr.write(b"said \x1b[2J\x07so\n")
        process.exit(0)

    async with answering(keys, run) as port:
        ended = await verify(port)
    assert ended.code == 1
    assert r"/etc is not a directory: a \x1b[2J\x07link" in ended.out
    assert "\x1b" not in ended.out + ended.err


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_host_that_prints_without_an_end_is_left(verify, keys, stream):
    async def run(process):
        out = getattr(process, stream)
        while not out.channel.is_closing():
            out.write(b"x" * 65536)
            await out.drain()

    async with answering(keys, run) as port:
        ended = await verify(port)
    refused(
        ended,
        3,
        "east-1-g1",
        "nothing is known about it",
        "it printed more than an answer can have",
    )


async def test_a_host_that_prints_nothing_is_left(verify, keys, monkeypatch):
    monkeypatch.setattr(image_verify, "HOST_SECONDS", 2)

    async def run(process):
        await process.wait_closed()

    async with answering(keys, run) as port:
        ended = await verify(port)
    refused(ended, 3, "east-1-g1", "nothing is known about it", "no answer within 2 s")


@pytest.mark.parametrize(
    ("printed", "code", "words"),
    [
        (b"", 0, "the check did not end"),
        (b"3\tdirectory /etc\tabsent\n", 0, "the check did not end"),
        (b"not \xff\x1b[2J a check\n", 0, "not \ufffd\\x1b[2J a check"),
        (answer("9\tpackage another\tabsent"), 0, "the check answers 9"),
        (answer(), 1, "ssh ended with 1"),
    ],
    ids=["nothing", "cut short", "no text", "another contract", "another exit code"],
)
async def test_an_answer_that_is_none_proves_nothing(verify, keys, printed, code, words):
    async def run(process):
        process.stdout.write(printed)
        process.exit(code)

    async with answering(keys, run) as port:
        ended = await verify(port)
    refused(ended, 3, "east-1-g1", "nothing is known about it", words)


async def test_a_machine_that_does_not_answer_is_not_a_violation(verify, keys):
    async with answering(keys, None) as port:
        pass
    ended = await verify(port)
    refused(ended, 3, "nothing is known about it", "Connection refused", "relight route verify")
    as_json = await verify(port, HOLDS, "--json")
    assert (as_json.code, as_json.out) == (3, "")
    assert '"kind":"not-checked"' in as_json.err.replace(" ", "")


async def test_another_host_key_is_refused_and_nothing_runs(verify, keys):
    client_key, secret = keys
    another = host_key(secret, "east-2-g1")
    async with ssh_server(another, load_client_key(client_key)) as server:
        ended = await verify(server.port)
        assert server.commands == []
    refused(ended, 3, "nothing is known about it", "Host key verification failed")


async def test_an_unknown_route_a_missing_key_and_a_missing_program_are_named(
    verify, relight, on_loopback, monkeypatch
):
    refused(await verify(1, route="nowhere-1"), 2, "there is no route nowhere-1")
    refused(await relight("image", "verify", "east-1"), 3, "RELIGHT_SSH__CLIENT_KEY")
    monkeypatch.setenv("PATH", "/nowhere")
    refused(await verify(1), 3, "there is no program ssh here: `apt-get install openssh-client`")
