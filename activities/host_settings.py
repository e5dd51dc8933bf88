"""Writes a host's settings where they differ, with the control plane's keys."""

from relight.hosts.host_settings import HostSettings, ensure
from relight.hosts.key_files import Keys
from relight.hosts.shell import Shell


class HostSettingsWriter:
    """Knows what each host should have, and the keys that prove the caller to it."""

    def __init__(self, settings: HostSettings, keys: Keys) -> None:
        """Write nothing yet.

        Args:
            settings: what each host is told to manage.
            keys: returns the control plane's keys.
        """
        self._settings = settings
        self._keys = keys

    async def ensure(self, shell: Shell) -> None:
        """Write the settings of a host if it has others.

        Raises:
            HostSettingsNotChangedError: it keeps the settings that it has.
            RemoteError: a call did not run, or its end is unknown.
        """
        machine_key = shell.destination.machine_key
        present = [each.host_key(machine_key) for each in self._keys().secrets]
        await ensure(shell, self._settings, present)
