"""Connections while a key is rotated: to a real SSH server that has the old key, or the new one."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncssh
import pytest

from relight.domain.machine import Machine, MachineStatus
from relight.hosts.connections import SshHosts
from relight.hosts.errors import HostKeyMismatchError, LoginRefusedError
from relight.hosts.key_files import KeyNotHereError, KeyRing, client_key_of, host_secret_of
from tests.support.ssh_server import SshServer, ssh_server

MACHINE = Machine(
    key="de-1-g1",
    provider="lab",
    provider_id="1",
    region="lab-east",
    architecture="amd64",
    status=MachineStatus.RUNNING,
    address="127.0.0.1",
)
CLIENTS = tuple(client_key_of(asyncssh.generate_private_key("ssh-ed25519")) for _ in range(2))
SECRETS = (host_secret_of(bytes([1] * 32)), host_secret_of(bytes([2] * 32)))
RING = KeyRing(CLIENTS, SECRETS)


def hosts(server: SshServer) -> SshHosts:
    return SshHosts("relight", server.port, lambda: RING, timedelta(seconds=10))


@pytest.fixture(params=[0, 1], ids=["old", "new"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[SshServer]:
    """A host that has the old key of each kind, or the new one."""
    private = SECRETS[request.param].host_key(MACHINE.key).private
    host_key = asyncssh.import_private_key(private)
    async with ssh_server(host_key, CLIENTS[request.param].private) as server:
        yield server


async def test_a_host_with_either_key_is_reached_by_one_login(server: SshServer) -> None:
    async with hosts(server).connect(MACHINE) as shell:
        done = await shell.run(["echo", "here"], timeout=timedelta(seconds=10))
    assert (done.stdout, server.logins) == ("here\n", 1)


@pytest.mark.parametrize("number", [0, 1])
async def test_one_client_key_can_be_tried_alone(server: SshServer, number: int) -> None:
    key = CLIENTS[number]
    accepted = server.authorized.public_data == key.private.public_data
    if accepted:
        async with hosts(server).connect_with(MACHINE, client=key.fingerprint):
            pass
        return
    with pytest.raises(LoginRefusedError):
        async with hosts(server).connect_with(MACHINE, client=key.fingerprint):
            pass


@pytest.mark.parametrize("number", [0, 1])
async def test_one_host_key_can_be_required_alone(
    server: SshServer, number: int, request: pytest.FixtureRequest
) -> None:
    secret = SECRETS[number]
    if request.node.callspec.params["server"] == number:
        async with hosts(server).connect_with(MACHINE, secret=secret.fingerprint):
            pass
        return
    with pytest.raises(HostKeyMismatchError):
        async with hosts(server).connect_with(MACHINE, secret=secret.fingerprint):
            pass


async def test_a_key_that_this_worker_lacks_is_not_a_fault_of_the_host(server: SshServer) -> None:
    for only in ({"client": "SHA256:x"}, {"secret": "SHA256:x"}):
        with pytest.raises(KeyNotHereError):
            async with hosts(server).connect_with(MACHINE, **only):
                pass
    assert server.logins == 0
