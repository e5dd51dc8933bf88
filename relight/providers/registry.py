"""The drivers of this installation. A new provider is added here."""

from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr

from relight.providers.driver import ProviderDriver
from relight.providers.lab import LabDriver

PROVIDERS: Final = (LabDriver.name,)
"""The name of every driver, configured or not."""


def open_drivers(*, lab_url: str, lab_token: SecretStr | None) -> Mapping[str, ProviderDriver]:
    """Return the drivers of the configured providers by name."""
    drivers: list[ProviderDriver] = []
    if lab_url and lab_token is not None:
        drivers.append(LabDriver(lab_url, lab_token))
    return {driver.name: driver for driver in drivers}
