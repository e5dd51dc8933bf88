"""The settings of an OpenStack cloud."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from pydantic import model_validator

from relight.providers.locations import ProviderSettings

SECURITY_GROUPS, VOLUME_TYPE = "security_groups", "volume_type"
FLOATING_NETWORK, CONFIG_DRIVE = "floating_network", "config_drive"

_EXTRA: Final[Mapping[str, type]] = {
    SECURITY_GROUPS: tuple,
    VOLUME_TYPE: str,
    FLOATING_NETWORK: str,
    CONFIG_DRIVE: bool,
}


class OpenStackSettings(ProviderSettings):
    """The settings of one OpenStack cloud.

    A location is named as the region in the catalog. Its `subnet` is a network's name or id; with
    `disk_gib` a machine boots from a volume, which is deleted with it. `extra` may have
    `security_groups` (names or ids), `volume_type`, `floating_network` (of whose addresses each
    machine gets one) and `config_drive` (true where there is no metadata service).

    Attributes:
        clouds_file: `clouds.yaml`.
        secure_file: `secure.yaml` with the secrets; None if `clouds_file` has them.
        cloud: the name of the cloud in these files.
    """

    clouds_file: Path
    secure_file: Path | None = None
    cloud: str

    @model_validator(mode="after")
    def _has_known_extra(self) -> Self:
        for name, location in self.locations.items():
            for key, value in location.extra.items():
                if key not in _EXTRA or not isinstance(value, _EXTRA[key]):
                    known = ", ".join(f"{each} ({_EXTRA[each].__name__})" for each in _EXTRA)
                    msg = f"locations.{name}.extra.{key}: openstack knows {known}"
                    raise ValueError(msg)
        return self
