"""A host's settings: the host program, what it manages, our apt sources, their keys and logins.

They are written at the first boot, and later by each change that finds others on the host.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import File
from relight.hosts.errors import HostSettingsNotChangedError
from relight.hosts.keys import HostKey
from relight.hosts.shell import Shell

TIMEOUT = timedelta(seconds=60)
"""The program waits up to 30 s for another call of it."""


@dataclass(frozen=True)
class HostSettings:
    """The files that make a host ours.

    Attributes:
        files: the host program, its configuration, and those of our apt sources, if it has any.
    """

    files: Sequence[File]

    @property
    def sha256(self) -> str:
        """Their digest, as the host program computes it: in the order of their paths."""
        contents = {str(each.path): each.content for each in self.files}
        return hashlib.sha256(b"".join(contents[path] for path in sorted(contents))).hexdigest()

    @property
    def lines(self) -> str:
        """What `relight-host configure` reads after the host key."""
        return "".join(
            f"{each.path.name} {base64.b64encode(each.content).decode()}\n" for each in self.files
        )


async def ensure(shell: Shell, settings: HostSettings, present: Sequence[HostKey]) -> None:
    """Write a host's settings if it has others. A program that is too old for it keeps its own.

    Args:
        shell: on the host.
        settings: what the host must have.
        present: the host keys that it may have, during a rotation two.

    Raises:
        HostSettingsNotChangedError: it keeps the settings that it has.
        RemoteError: a call did not run, or its end is unknown.
    """
    argv = host_program.settings(settings.sha256)
    asked = await shell.run(argv, timeout=TIMEOUT, check=False, sudo=True)
    if asked.exit_code == host_program.OTHER_SETTINGS_EXIT_CODE:
        await configure(shell, settings, present)


async def configure(shell: Shell, settings: HostSettings, present: Sequence[HostKey]) -> None:
    """Write a host's settings. Run twice, it changes nothing.

    Whoever may change them can run any program as root there. So the host asks for its own host
    key as a proof, which a stolen client key does not have. It goes through standard input.

    Args:
        shell: on the host.
        settings: what the host gets.
        present: the host keys that it may have, during a rotation two.

    Raises:
        HostSettingsNotChangedError: it keeps the settings that it has.
        RemoteError: the call did not run, or its end is unknown.
    """
    argv = host_program.configure()
    for key in present:
        stdin = key.private + settings.lines
        done = await shell.run(argv, stdin=stdin, timeout=TIMEOUT, check=False, sudo=True)
        if done.exit_code == 0:
            return
        if done.exit_code != host_program.REFUSED_KEY_EXIT_CODE:
            break
    lines = done.stderr.strip().splitlines()
    raise HostSettingsNotChangedError(
        lines[-1] if lines else f"exit code {done.exit_code}",
        destination=shell.destination,
        attempted="change its settings",
        argv=done.argv,
        exit_code=done.exit_code,
        stderr=done.stderr,
    )
