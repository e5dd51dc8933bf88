"""What the settings say of a provider: how to log in, and what a region offers.

Regions, zones, shapes, subnets and images differ between accounts, so they are configuration: a
table `[NAME.locations.REGION]` of the file `providers.toml`.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NamedTuple, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from relight.domain.duration import Duration
from relight.domain.error_words import error_words
from relight.domain.machine import Region
from relight.domain.release import ArchitectureName
from relight.providers.driver import (
    ProviderCapacityError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.staging_settings import StagingSettings

Name = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
"""A name or an id at a vendor."""

T = TypeVar("T")

_VENDORS_NAME = re.compile(r"[a-z0-9-]{1,64}")


class LocationSettings(BaseModel):
    """What a provider's region offers to our account.

    Attributes:
        architecture: Debian's name of the architecture of its shapes: `amd64`, `arm64`.
        zones: in the order in which they are tried; empty: the provider chooses.
        shapes: the vendor's names of machine types, in the order in which they are tried.
        subnet: the id of the network that machines are in; empty: the provider's default.
        image: the id, or the whole name, of the base image.
        image_prefix: instead of `image`: the newest image whose name begins with it.
        disk_gib: the size of the boot volume, in GiB; None: as the image or the shape has it.
        extra: what this vendor needs besides; its driver's page says what.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: ArchitectureName = "amd64"
    zones: tuple[Name, ...] = ()
    shapes: tuple[Name, ...] = Field(min_length=1)
    subnet: str = ""
    image: str = ""
    image_prefix: str = ""
    disk_gib: int | None = Field(default=None, ge=1)
    extra: Mapping[str, str | int | bool | tuple[str, ...]] = {}

    @model_validator(mode="after")
    def _has_one_image(self) -> Self:
        if bool(self.image) == bool(self.image_prefix):
            msg = "set image or image_prefix, and not both"
            raise ValueError(msg)
        return self


def _from_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class ProviderSettings(BaseModel):
    """The settings of one provider. A driver's own add how to log in: secrets only as files.

    Attributes:
        url: of its API; empty: the vendor's own.
        timeout: for a whole answer.
        locations: by the provider's name of the region; in a variable, as a JSON object.
        staging: object storage that it imports base images from; its driver's page says whether
            it needs one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    timeout: Duration = Field(default=timedelta(seconds=30), gt=timedelta(0))
    locations: Annotated[
        Mapping[Name, LocationSettings], BeforeValidator(_from_json), Field(min_length=1)
    ]
    staging: Annotated[StagingSettings | None, BeforeValidator(_from_json)] = None

    def regions(self, provider: str) -> tuple[Region, ...]:
        """Return the regions in which machines can be created, ordered by name."""
        return tuple(
            Region(provider=provider, name=name, architecture=location.architecture)
            for name, location in sorted(self.locations.items())
        )

    def location(self, provider: str, region: str) -> LocationSettings:
        """Return what a region offers.

        Raises:
            UnknownLocationError: it is not configured.
        """
        if region not in self.locations:
            raise UnknownLocationError(
                provider,
                f"find region {region}",
                f"it is not configured; its regions: {', '.join(sorted(self.locations))}",
            )
        return self.locations[region]


def require_vendors_name(provider: str, attempted: str, region: str) -> str:
    """Return a region whose location may have been removed: its images are still there.

    Its name becomes a part of a URL.

    Raises:
        UnknownLocationError: no vendor names a region so.
    """
    if _VENDORS_NAME.fullmatch(region) is None:
        raise UnknownLocationError(provider, attempted, f"{region!r} is no name of a region")
    return region


class SecretFileError(Exception):
    """The file with a secret cannot be read, or is empty."""


def read_secret(file: Path) -> SecretStr:
    """Return the secret that a file has, without spaces and line feeds around it.

    Raises:
        SecretFileError: it has none.
    """
    try:
        secret = file.read_text().strip()
    except OSError as error:
        raise SecretFileError(f"{file} cannot be read: {error_words(error)}") from error
    except UnicodeDecodeError as error:
        raise SecretFileError(f"{file} is no text") from error
    if not secret:
        raise SecretFileError(f"{file} is empty")
    return SecretStr(secret)


def read_token(file: Path) -> SecretStr:
    """Return the secret of one word that a file has, as it may stand in a header.

    Raises:
        SecretFileError: it has none. A client's own error would repeat the word.
    """
    token = read_secret(file)
    if not re.fullmatch("[!-~]+", token.get_secret_value()):
        raise SecretFileError(f"{file} has more than one word of ASCII characters")
    return token


class Attempt(NamedTuple):
    """One place to try a creation in.

    Attributes:
        zone: empty: the provider chooses.
        shape: the machine type.
    """

    zone: str
    shape: str

    def __str__(self) -> str:
        return f"{self.shape} in {self.zone}" if self.zone else self.shape


def attempts(location: LocationSettings) -> tuple[Attempt, ...]:
    """Return where a machine is tried: each zone with the first shape, then with the next one."""
    zones = location.zones or ("",)
    return tuple(Attempt(zone, shape) for shape in location.shapes for zone in zones)


class CapacityFallback:
    """Creates a machine where there is room, and remembers where that is not clear.

    An attempt without an answer may have created the machine. The next call for its key begins with
    the same attempt, whose token or name the provider then knows: another zone would make a twin.
    """

    MAX_REMEMBERED = 10_000

    def __init__(self, provider: str) -> None:
        """Try nothing yet.

        Args:
            provider: the driver's name.
        """
        self._provider = provider
        self._unclear: dict[str, Attempt] = {}

    async def create(
        self, key: str, location: LocationSettings, create: Callable[[Attempt], Awaitable[T]]
    ) -> T:
        """Return what `create` returns for the first attempt that has room.

        Raises:
            ProviderCapacityError: none has; its words are those of each attempt.
            ProviderError: as raised by an attempt; no other one is made.
        """
        first = self._unclear.get(key)
        tried = sorted(attempts(location), key=lambda attempt: attempt != first)
        full: list[str] = []
        for attempt in tried:
            try:
                created = await create(attempt)
            except ProviderCapacityError as error:
                self._unclear.pop(key, None)
                full.append(f"{attempt}: {error.answer}")
            except (ProviderUnavailableError, asyncio.CancelledError):
                self._remember(key, attempt)
                raise
            else:
                self._unclear.pop(key, None)
                return created
        raise ProviderCapacityError(self._provider, f"create {key}", "; ".join(full))

    def _remember(self, key: str, attempt: Attempt) -> None:
        self._unclear[key] = attempt
        if len(self._unclear) > self.MAX_REMEMBERED:
            del self._unclear[next(iter(self._unclear))]
