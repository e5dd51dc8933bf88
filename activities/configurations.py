"""The service's configuration for one machine: of its release, for the route that it serves."""

from collections.abc import Mapping

from relight.domain.configuration import ConfiguredMachine
from relight.domain.fault.error import DomainError
from relight.domain.names import Revision
from relight.domain.release import Release
from relight.hosts.configuration import HostConfiguration
from relight.hosts.configuration_templates import render
from relight.hosts.key_files import Keys
from relight.hosts.keys import configuration_key
from relight.store.configurations import ConfigurationRecord
from relight.store.store import Store
from relight.store.threads import in_thread

NO_CONFIGURATION = ("",)
"""The digest that a host reports whose service has no configuration of ours."""


class ConfigurationUnknownError(DomainError):
    """The fleet does not have the configuration of a release, or not the machine that gets it."""

    kind = "release-unknown"


class ServiceConfigurations:
    """Renders what a machine gets; each revision is read once."""

    def __init__(self, store: Store, secrets: Mapping[str, str], keys: Keys) -> None:
        """Read nothing yet.

        Args:
            store: has the configurations, and which route a machine serves.
            secrets: by name, for the templates.
            keys: returns the control plane's keys, from which those of the digests are derived.
        """
        self._store = store
        self._secrets = secrets
        self._keys = keys
        self._known: dict[Revision, ConfigurationRecord] = {}

    async def of(self, machine_key: str, release: Release) -> tuple[HostConfiguration, ...]:
        """Return the configuration of a machine, once for each host-key secret; empty for none.

        They differ in their digests only: while the secret is rotated, a host may report either.

        Raises:
            ConfigurationUnknownError: it is not on record, or the machine is not.
            TemplateError: it cannot be rendered.
        """
        if release.configuration is None:
            return ()
        return await self.of_revision(machine_key, release.configuration)

    async def of_revision(
        self, machine_key: str, revision: Revision
    ) -> tuple[HostConfiguration, ...]:
        """Return a configuration for a machine, as `of` does."""
        keys = tuple(configuration_key(each.value) for each in self._keys().secrets)
        return await in_thread(self._rendered, machine_key, revision, keys)

    async def digests(self, machine_key: str, release: Release) -> tuple[str, ...]:
        """Return what a machine may report; one is empty if the release has no configuration."""
        rendered = await self.of(machine_key, release)
        return tuple(each.digest for each in rendered) or NO_CONFIGURATION

    def _rendered(
        self, machine_key: str, revision: Revision, keys: tuple[bytes, ...]
    ) -> tuple[HostConfiguration, ...]:
        configuration = self._record(revision).configuration
        machine = self._machine(machine_key)
        return tuple(render(configuration, machine, self._secrets, key) for key in keys)

    def _record(self, revision: Revision) -> ConfigurationRecord:
        record = self._known.get(revision) or self._store.configurations.get(revision)
        if record is None:
            raise ConfigurationUnknownError(
                f"this fleet has no configuration {revision}: `relight configuration list`"
            )
        self._known[revision] = record
        return record

    def _machine(self, machine_key: str) -> ConfiguredMachine:
        machine = self._store.machines.get(machine_key)
        if machine is None:
            raise ConfigurationUnknownError(f"there is no machine {machine_key} on record")
        route = self._store.routes.get(machine.route_id) if machine.route_id else None
        return ConfiguredMachine(
            key=machine_key,
            route_id=machine.route_id,
            track=route.track if route else None,
            provider=machine.provider,
            region=machine.region,
        )
