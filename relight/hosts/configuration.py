"""The service's configuration as one host gets it: files, how they are checked, how they are taken.

A host keeps them for its next change. That change writes them after the package's files and before
the service starts, so that the service starts once.
"""

import base64
import hashlib
import hmac
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from relight.domain.configuration import OnConfigurationChange
from relight.hosts import host_program
from relight.hosts.keys import HostKey
from relight.hosts.owner import call_as_owner
from relight.hosts.shell import Shell
from relight.hosts.templates import environment_value, yaml_text

MASK = "***"
"""Stands for the value of a secret."""


@dataclass(frozen=True)
class HostFile:
    """A file of the configuration.

    Attributes:
        path: absolute.
        mode: in three octal digits, as in `640`.
        owner: a user of the host.
        group: a group of the host.
        content: may be secret.
    """

    path: str
    mode: str
    owner: str
    group: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class HostConfiguration:
    """The configuration of the service on one host.

    Attributes:
        files: in the order of their paths.
        check: the service's own check, a program and its arguments; empty for none.
        on_change: how the service takes a change.
        key: the fleet's, without which the digest tells nothing of what is digested.
        secrets: the values in the files that nobody may read elsewhere.
    """

    files: tuple[HostFile, ...]
    check: tuple[str, ...]
    on_change: OnConfigurationChange
    key: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """Names the configuration, secrets included."""
        return hmac.new(self.key, self.lines.encode(), hashlib.sha256).hexdigest()

    @property
    def lines(self) -> str:
        """What `relight-host stage` reads after the host key."""
        lines = [f"on-change {self.on_change}"]
        if self.check:
            lines.append(f"check {_base64(shlex.join(self.check).encode())}")
        lines += [
            f"file {each.mode} {each.owner} {each.group} {each.path} {_base64(each.content)}"
            for each in self.files
        ]
        return "".join(f"{line}\n" for line in lines)

    def masked(self, text: str) -> str:
        """Return a text, as of the check, without the values of secrets."""
        written = {
            form
            for secret in self.secrets
            for form in (*secret.splitlines(), *_as_written(secret))
            if form
        }
        for form in sorted(written, key=len, reverse=True):
            text = text.replace(form, MASK)
        return text


async def stage(shell: Shell, configuration: HostConfiguration, present: Sequence[HostKey]) -> None:
    """Bring a host the configuration that its next change takes. Nothing is changed yet.

    Args:
        shell: on the host.
        configuration: of the service.
        present: the host keys that it may have, during a rotation two.

    Raises:
        HostSettingsNotChangedError: it does not take them.
        RemoteError: the call did not run, or its end is unknown.
    """
    argv = host_program.stage(configuration.digest)
    attempted = "bring the service's configuration"
    await call_as_owner(shell, argv, configuration.lines, present, attempted)


def _as_written(secret: str) -> list[str]:
    """Return a secret as filters of templates write it, and as programs quote what they read."""
    quoted = [yaml_text(secret), environment_value(secret.replace("\0", "")), json.dumps(secret)]
    return [secret, *(each[1:-1] for each in quoted), repr(secret)[1:-1]]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
