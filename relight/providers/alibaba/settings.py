"""The settings of Alibaba Cloud, `[alibaba]`."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from relight.providers.locations import LocationSettings, Name, ProviderSettings


class AlibabaExtra(BaseModel):
    """What a location needs besides, in its table `extra`.

    Attributes:
        security_group: the id of the machines' security group.
        bandwidth_mbits: of the public address, outwards, in Mbit/s; 0: no public address.
        disk_category: of the system disk.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    security_group: Name
    bandwidth_mbits: int = Field(default=100, ge=0, le=100)
    disk_category: Name = "cloud_essd"


def extra_of(location: LocationSettings) -> AlibabaExtra:
    """Return the table `extra` of a location.

    Raises:
        ValidationError: something is wrong in it.
    """
    return AlibabaExtra.model_validate(location.extra)


class AlibabaSettings(ProviderSettings):
    """The settings of the account. A location's `zones` are ids of vSwitches, one for each zone.

    Attributes:
        url: of the API; `{region}` in it stands for the region; empty: the vendor's own.
        key_id: of the access key.
        key_file: the file with the access key's secret.
    """

    key_id: Name
    key_file: Path

    @property
    def staging_region(self) -> str:
        """The region of the object storage; empty if none is set.

        The S3 API of Alibaba Cloud names it `oss-cn-hangzhou`.
        """
        return "" if self.staging is None else self.staging.region.removeprefix("oss-")

    @model_validator(mode="after")
    def _has_extra(self) -> Self:
        for name, location in self.locations.items():
            try:
                extra_of(location)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, ("locations", name, "extra", *first["loc"])))
                msg = f"{key}: {first['msg']}"
                raise ValueError(msg) from None
            if not (location.zones or location.subnet):
                msg = f"locations.{name}.zones: name the vSwitch of each zone"
                raise ValueError(msg)
        return self
