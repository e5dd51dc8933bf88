"""The command line of the system's ssh that logs in on a machine, as a worker would.

The machine must present the host key that is derived for it: nothing is trusted on first use, and
no file of the person who logs in is read or written.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relight.domain.key_rotation import next_of
from relight.domain.machine import Machine
from relight.hosts.host_program import UNKNOWN_CALL_EXIT_CODE, journal
from relight.hosts.key_files import KeyFiles
from relight.hosts.keys import IdentityError
from relight.hosts.shell import SUDO
from relight.setting_groups import SettingsError
from relight.settings import Settings, required

__all__ = ["UNKNOWN_CALL_EXIT_CODE", "journal_words", "ssh_command"]


@contextmanager
def ssh_command(settings: Settings, machine: Machine, *, terminal: bool) -> Iterator[list[str]]:
    """Yield the command line, without a command for the host. It can be used within the block.

    While a key is rotated, both client keys are offered and both host keys are accepted.

    Args:
        settings: name the files of the keys, the user and the port.
        machine: a machine with an address.
        terminal: give the command on the host a terminal.

    Raises:
        SettingsError: a key is not set, or cannot be used here.
    """
    ssh = settings.ssh
    client_key = required(ssh.client_key, "ssh", "client_key")
    secret = required(ssh.host_key_secret, "ssh", "host_key_secret")
    try:
        ring = KeyFiles(client_key, secret)()
    except IdentityError as error:
        raise SettingsError(f"{error}. Type it where a worker runs") from error
    identities = [client_key, next_of(client_key)][: len(ring.clients)]
    # Only this user can read or replace it.
    with tempfile.TemporaryDirectory(prefix="relight-ssh-") as folder:
        known_hosts = Path(folder) / "known_hosts"
        known_hosts.write_text(
            "".join(f"{machine.key} {each.host_key(machine.key).public}\n" for each in ring.secrets)
        )
        options = {
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": machine.key,
            "HostKeyAlgorithms": "ssh-ed25519",
            "CheckHostIP": "no",
            "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "PreferredAuthentications": "publickey",
            "ForwardAgent": "no",
            "ConnectTimeout": f"{ssh.connect_timeout.total_seconds():.0f}",
            "ServerAliveInterval": "15",
            "LogLevel": "ERROR",
        }
        yield [
            *("ssh", "-F", "none", "-t" if terminal else "-T"),
            *("-l", ssh.user, "-p", str(ssh.port)),
            *(word for each in identities for word in ("-i", str(each))),
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
            *("--", machine.address or ""),
        ]


def journal_words(lines: int, *, follow: bool = False) -> list[str]:
    """Return the command on a host that prints the last lines of the service's journal.

    With `follow` it then prints each new line, without an end.
    """
    return [*SUDO, *journal(lines, follow=follow)]
