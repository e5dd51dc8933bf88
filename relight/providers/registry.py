"""The drivers of this installation. A new provider is one line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import SecretStr

from relight.providers.alibaba.driver import AlibabaDriver
from relight.providers.alibaba.settings import AlibabaSettings
from relight.providers.driver import ProviderDriver
from relight.providers.gcore.creation import GcoreSettings
from relight.providers.gcore.driver import GcoreDriver
from relight.providers.lab import LabDriver
from relight.providers.linode.driver import LinodeDriver, LinodeSettings
from relight.providers.locations import ProviderSettings
from relight.providers.oci.driver import OciDriver
from relight.providers.oci.settings import OciSettings
from relight.providers.openstack.driver import OpenStackDriver
from relight.providers.openstack.settings import OpenStackSettings

S = TypeVar("S", bound=ProviderSettings)


@dataclass(frozen=True)
class Cloud(Generic[S]):
    """A provider that is configured by `RELIGHT_PROVIDERS__NAME__*`, or by `providers.toml`.

    Attributes:
        settings: the model of its settings.
        driver: opens its driver; raises `SecretFileError` if a secret's file cannot be read.
    """

    settings: type[S]
    driver: Callable[[S], ProviderDriver]


CLOUDS: Final[Mapping[str, Cloud[Any]]] = {
    AlibabaDriver.name: Cloud(AlibabaSettings, AlibabaDriver),
    GcoreDriver.name: Cloud(GcoreSettings, GcoreDriver),
    LinodeDriver.name: Cloud(LinodeSettings, LinodeDriver),
    OciDriver.name: Cloud(OciSettings, OciDriver),
    OpenStackDriver.name: Cloud(OpenStackSettings, OpenStackDriver),
}
"""By the driver's name."""

PROVIDERS: Final = (LabDriver.name, *CLOUDS)
"""The name of every driver, configured or not."""


def open_drivers(
    *,
    lab_url: str,
    lab_token: SecretStr | None,
    clouds: Mapping[str, ProviderSettings] | None = None,
) -> Mapping[str, ProviderDriver]:
    """Return the drivers of the configured providers by name.

    Raises:
        SecretFileError: the file with a secret cannot be read.
    """
    drivers: list[ProviderDriver] = []
    if lab_url and lab_token is not None:
        drivers.append(LabDriver(lab_url, lab_token))
    for name, settings in (clouds or {}).items():
        drivers.append(CLOUDS[name].driver(settings))
    return {driver.name: driver for driver in drivers}
