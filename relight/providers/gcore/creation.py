"""What is created at Gcore: the settings of its locations, and the request that they make."""

import base64
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from relight.providers.driver import MachineSpec
from relight.providers.gcore.answers import DEBIAN_ARCHITECTURE, Image
from relight.providers.locations import LocationSettings, ProviderSettings
from relight.providers.tags import GENERATION, tags_of

URL = "https://api.gcore.com"

MIN_TAG_CHARACTERS = 3

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Place(BaseModel):
    """What `extra` of a location has.

    Attributes:
        region_id: of the region at Gcore.
        volume_type: of the boot volume.
        security_groups: the ids of the machines' security groups; empty: the project's default.
        network_id: of the location's `subnet`, if it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    region_id: int = Field(ge=1)
    volume_type: str = "standard"
    security_groups: tuple[str, ...] = ()
    network_id: str = ""

    @classmethod
    def of(cls, location: LocationSettings) -> Self:
        """Return what a location has.

        Raises:
            ValidationError: something is missing, or of no use.
        """
        return cls.model_validate(location.extra)


class GcoreSettings(ProviderSettings):
    """How to log in to Gcore.

    Attributes:
        api_key_file: the file with a permanent API key.
        project_id: of the project with our machines.
    """

    url: str = URL
    api_key_file: Path
    project_id: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        named: dict[int, str] = {}
        for name, location in self.locations.items():
            try:
                place = Place.of(location)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                key = ".".join(map(str, ("locations", name, "extra", *first["loc"])))
                raise ValueError(f"{key}: {first['msg']}") from error
            other = named.setdefault(place.region_id, name)
            if other != name:
                raise ValueError(f"locations.{name}: it has the region_id of {other}")
            if location.zones:
                raise ValueError(f"locations.{name}.zones: Gcore's regions have no zones")
            if bool(location.subnet) != bool(place.network_id):
                msg = f"locations.{name}: set subnet and extra.network_id, or neither"
                raise ValueError(msg)
        return self


def is_id(text: str) -> bool:
    """Return whether this is an id, not a name."""
    return _ID.fullmatch(text) is not None


def newest_image(images: Iterable[Image], location: LocationSettings, wanted: str) -> Image | None:
    """Return the newest image that a location's machines can boot from; None without any.

    Args:
        images: of the region. The API finds a name by any part of it.
        location: names the architecture, and what the name begins with.
        wanted: the id, or the whole name; empty: by the location's prefix.
    """
    usable = [
        each
        for each in images
        if DEBIAN_ARCHITECTURE.get(each.architecture) == location.architecture
        and each.status == "active"
        and (
            wanted in {each.id, each.name}
            if wanted
            else each.name.startswith(location.image_prefix)
        )
    ]
    oldest = datetime.min.replace(tzinfo=UTC)
    return max(usable, key=lambda each: (each.created_at or oldest, each.name), default=None)


def creation(
    key: str, spec: MachineSpec, location: LocationSettings, image: Image, shape: str
) -> dict[str, Any]:
    """Return the body of a creation. A password would make Gcore ignore the user-data."""
    place = Place.of(location)
    # The shortest tag has three characters.
    tags = tags_of(key, spec) | {GENERATION: f"{spec.generation:03}"}
    interface: dict[str, Any] = {"type": "external"}
    if location.subnet:
        interface = {
            "type": "subnet",
            "network_id": place.network_id,
            "subnet_id": location.subnet,
        }
    if place.security_groups:
        interface["security_groups"] = [{"id": each} for each in place.security_groups]
    return {
        "name": key,
        "flavor": shape,
        "interfaces": [interface],
        "volumes": [
            {
                "source": "image",
                "image_id": image.id,
                "size": max(location.disk_gib or 1, image.min_disk),
                "type_name": place.volume_type,
                "boot_index": 0,
                "delete_on_termination": True,
                "name": key,
                "tags": tags,
            }
        ],
        "tags": tags,
        "user_data": base64.b64encode(spec.user_data.get_secret_value()).decode(),
    }
