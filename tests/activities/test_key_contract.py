"""The contract of a host's keys: a real Debian machine and the simulated host."""

import uuid
from collections.abc import AsyncIterator

import asyncssh
import pytest

from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.parts import HOST_KEY_SECRET
from relight.hosts.authorized_keys import add_key, remove_key
from relight.hosts.connections import KeyedHosts, SshHosts
from relight.hosts.errors import (
    CommandFailedError,
    HostKeyMismatchError,
    HostKeyNotChangedError,
    LoginRefusedError,
)
from relight.hosts.host_key_change import change_host_key
from relight.hosts.key_files import KeyRing, client_key_of, host_secret_of
from tests.support.contract_hosts import (
    CLIENT_KEY,
    Subject,
    lab_hosts,
    lab_subject,
    simulated_subject,
)
from tests.support.lab import Lab

OLD, NEW = client_key_of(CLIENT_KEY), client_key_of(asyncssh.generate_private_key("ssh-ed25519"))
SECRET, NEW_SECRET = host_secret_of(HOST_KEY_SECRET), host_secret_of(bytes([7] * 32))
RING = KeyRing((OLD, NEW), (SECRET, NEW_SECRET))


@pytest.fixture(scope="module", params=["simulated", pytest.param("lab", marks=pytest.mark.lab)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """One machine that was created with the old keys."""
    key = f"contract-{uuid.uuid4().hex[:6]}-g1"
    if request.param == "simulated":
        context = simulated_subject(key, "0.0.73")
    else:
        lab: Lab = request.getfixturevalue("lab")
        context = lab_subject(lab, key, "0.0.73")
    async with context as subject:
        await subject.first_boot()
        yield subject


@pytest.fixture
def hosts(subject: Subject) -> KeyedHosts:
    """Connections that have both keys of each kind."""
    if isinstance(subject.hosts, SimulatedHosts):
        subject.hosts.keys = lambda: RING
        return subject.hosts
    usual = lab_hosts()
    return SshHosts(usual.user, usual.port, lambda: RING, usual.connect_timeout)


async def test_a_client_key_is_added_and_the_other_one_removed(
    subject: Subject, hosts: KeyedHosts
) -> None:
    machine = subject.machine

    async def accepts(fingerprint: str) -> bool:
        try:
            async with hosts.connect_with(machine, client=fingerprint):
                return True
        except LoginRefusedError:
            return False

    assert [await accepts(each.fingerprint) for each in (OLD, NEW)] == [True, False]
    async with hosts.connect_with(machine) as shell:
        with pytest.raises(CommandFailedError) as caught:
            await remove_key(shell, OLD.public, NEW)
        assert caught.value.exit_code == 3
        assert await accepts(OLD.fingerprint)
        for _ in range(2):
            await add_key(shell, NEW)
            assert [await accepts(each.fingerprint) for each in (OLD, NEW)] == [True, True]
        for _ in range(2):
            await remove_key(shell, OLD.public, NEW)
            assert [await accepts(each.fingerprint) for each in (OLD, NEW)] == [False, True]
    async with hosts.connect_with(machine):
        pass


async def test_a_host_key_is_exchanged_by_who_knows_it(subject: Subject, hosts: KeyedHosts) -> None:
    machine = subject.machine
    present, new = (each.host_key(machine.key) for each in (SECRET, NEW_SECRET))

    async def shows(fingerprint: str) -> bool:
        try:
            async with hosts.connect_with(machine, secret=fingerprint):
                return True
        except HostKeyMismatchError:
            return False

    async with hosts.connect_with(machine) as shell:
        with pytest.raises(HostKeyNotChangedError, match="refused") as caught:
            await change_host_key(shell, NEW_SECRET.host_key("another"), new)
        assert caught.value.exit_code == 77
        assert [await shows(each.fingerprint) for each in RING.secrets] == [True, False]
        for _ in range(2):
            await change_host_key(shell, present, new)
            assert [await shows(each.fingerprint) for each in RING.secrets] == [False, True]
