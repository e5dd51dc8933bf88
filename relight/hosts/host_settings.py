"""A host's settings: the host program, what it manages, our apt sources, their keys and logins.

They are written at the first boot, and later by each change that finds others on the host.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import File
from relight.hosts.keys import HostKey
from relight.hosts.owner import TIMEOUT, call_as_owner
from relight.hosts.shell import Shell


@dataclass(frozen=True)
class HostSettings:
    """The files that make a host ours.

    Attributes:
        files: the host program, its configuration, and those of our apt sources, if it has any.
    """

    files: Sequence[File]

    def sha256(self, key: HostKey) -> str:
        """Return their digest on a host, as the host program computes it: in the order of paths.

        It covers passwords of repositories and is an argument there, which each of its users may
        read. The private host key comes first, so that nobody can try passwords with it.

        Args:
            key: the host key that the host has.
        """
        contents = {str(each.path): each.content for each in self.files}
        whole = b"".join(contents[path] for path in sorted(contents))
        return hashlib.sha256(key.private.encode() + whole).hexdigest()

    @property
    def lines(self) -> str:
        """What `relight-host configure` reads after the host key."""
        return "".join(
            f"{each.path.name} {base64.b64encode(each.content).decode()}\n" for each in self.files
        )


def differs(settings: HostSettings, sha256: str, present: Sequence[HostKey]) -> bool:
    """Whether a host was observed to have other settings. A program that is too old does not tell.

    Args:
        settings: what the host must have.
        sha256: the digest of those that it has; empty if that is unknown.
        present: the host keys that it may have, during a rotation two.
    """
    return bool(sha256) and sha256 not in {settings.sha256(key) for key in present}


async def ensure(shell: Shell, settings: HostSettings, present: Sequence[HostKey]) -> None:
    """Write a host's settings if it has others. A program that is too old for it keeps its own.

    Args:
        shell: on the host.
        settings: what the host must have.
        present: the host keys that it may have, one at least, during a rotation two.

    Raises:
        HostSettingsNotChangedError: it keeps the settings that it has.
        RemoteError: a call did not run, or its end is unknown.
    """
    for key in present:
        argv = host_program.settings(settings.sha256(key))
        asked = await shell.run(argv, timeout=TIMEOUT, check=False, sudo=True)
        if asked.exit_code != host_program.OTHER_SETTINGS_EXIT_CODE:
            return
    await configure(shell, settings, present)


async def configure(shell: Shell, settings: HostSettings, present: Sequence[HostKey]) -> HostKey:
    """Write a host's settings, and return the host key that it has. Run twice, it changes nothing.

    Args:
        shell: on the host.
        settings: what the host gets.
        present: the host keys that it may have, one at least, during a rotation two.

    Raises:
        HostSettingsNotChangedError: it keeps the settings that it has.
        RemoteError: the call did not run, or its end is unknown.
    """
    argv = host_program.configure()
    return await call_as_owner(shell, argv, settings.lines, present, "change its settings")
