"""The SSH host key of a real host: exchanged under open sessions, and by the control plane only."""

import os
import shlex
from datetime import timedelta

import pytest

from devkit.simulated.parts import HOST_KEY_SECRET
from relight.hosts import host_program
from relight.hosts.errors import HostKeyMismatchError, HostKeyNotChangedError
from relight.hosts.host_key_change import change_host_key
from relight.hosts.host_key_probe import ShownKey, SshHostKeyProbe
from relight.hosts.key_files import fixed_keys
from relight.hosts.keys import HostKey, derive_host_key
from tests.support.contract_hosts import CLIENT_KEY, lab_hosts
from tests.support.faulty_host import HOST_KEY, FaultyHost

pytestmark = pytest.mark.lab

SOON = timedelta(seconds=20)
OTHER_SECRET = bytes([9] * 32)


def keys(host: FaultyHost) -> tuple[HostKey, HostKey]:
    """Return the host's present key, and the one that it is to get."""
    key = host.subject.machine.key
    return derive_host_key(HOST_KEY_SECRET, key), derive_host_key(OTHER_SECRET, key)


async def test_the_new_key_is_shown_at_once_and_open_sessions_go_on(host: FaultyHost) -> None:
    present, new = keys(host)
    machine = host.subject.machine
    service = host.main_pid()
    async with lab_hosts().connect(machine) as open_before, lab_hosts().connect(machine) as shell:
        await change_host_key(shell, present, new)
        await change_host_key(shell, present, new)  # as after a reply that was lost
        assert (await open_before.run(["echo", "on"], timeout=SOON)).stdout == "on\n"
        async with lab_hosts(OTHER_SECRET).connect(machine) as after:
            assert (await after.run(["echo", "new"], timeout=SOON)).stdout == "new\n"
    with pytest.raises(HostKeyMismatchError):
        async with lab_hosts().connect(machine):
            pass
    assert host.main_pid() == service
    assert host.sh(f"stat -c '%a %U' {HOST_KEY}") == "600 root"
    assert host.sh(f"cat {HOST_KEY}.pub").split()[:2] == new.public.split()[:2]
    assert (
        host.sh("ls /etc/ssh /run/relight | grep -c -e relight$ -e host-key[.][^l] || true") == "0"
    )


async def test_a_key_stays_after_a_restart_of_sshd(host: FaultyHost) -> None:
    present, new = keys(host)
    async with lab_hosts().connect(host.subject.machine) as shell:
        await change_host_key(shell, present, new)
    host.sh("systemctl restart ssh")
    async with lab_hosts(OTHER_SECRET).connect(host.subject.machine):
        pass


async def test_a_host_whose_sshd_hangs_is_neither_itself_nor_gone(host: FaultyHost) -> None:
    machine = host.subject.machine
    assert machine.address is not None
    probe = SshHostKeyProbe(22, fixed_keys(CLIENT_KEY, HOST_KEY_SECRET), timedelta(seconds=2))
    assert await probe(machine.key, machine.address) is ShownKey.OWN
    with host.changed("systemctl kill --kill-whom=main -s STOP ssh", "pkill -CONT -x sshd"):
        assert await probe(machine.key, machine.address) is ShownKey.UNCLEAR
    assert await probe(machine.key, machine.address) is ShownKey.OWN
    with host.changed("systemctl stop ssh ssh.socket", "systemctl start ssh"):
        assert await probe(machine.key, machine.address) is ShownKey.NONE


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        ("echo 'Nonsense yes' >/etc/ssh/sshd_config.d/zz.conf", "bad configuration options"),
        ("echo 'HostKey /etc/ssh/elsewhere' >/etc/ssh/sshd_config.d/zz.conf", "sshd does not use"),
    ],
    ids=["invalid", "elsewhere"],
)
async def test_the_present_key_stays_if_sshd_would_not_start_with_the_new_one(
    host: FaultyHost, break_it: str, reason: str
) -> None:
    present, new = keys(host)
    host.sh(f"cp -p {HOST_KEY} /etc/ssh/elsewhere; {break_it}")
    async with lab_hosts().connect(host.subject.machine) as shell:
        with pytest.raises(HostKeyNotChangedError, match=reason):
            await change_host_key(shell, present, new)
    assert host.sh(f"cat {HOST_KEY}") == present.private.strip()
    host.sh("rm /etc/ssh/sshd_config.d/zz.conf")
    async with lab_hosts().connect(host.subject.machine):
        pass


async def test_who_has_only_the_client_key_cannot_change_it(host: FaultyHost) -> None:
    present, new = keys(host)
    public_only = "\n".join(
        [*present.private.splitlines()[:2], "-----END OPENSSH PRIVATE KEY-----"]
    )
    for first in (derive_host_key(os.urandom(32), "x").private, public_only, ""):
        host.sh(
            f"printf '%s\\n' {shlex.quote(first + new.private)} >/tmp/read; chmod 644 /tmp/read"
        )
        call = f"sudo -n {host_program.PROGRAM} host-key </tmp/read 2>&1; echo exit $?"
        answer = host.sh(f"cd /tmp; runuser -u relight -- sh -c {shlex.quote(call)}")
        assert "relight: refused: " in answer
        assert answer.endswith("exit 77")
        assert "PRIVATE" not in answer
    assert host.sh(f"cat {HOST_KEY}") == present.private.strip()
    async with lab_hosts().connect(host.subject.machine):
        pass
