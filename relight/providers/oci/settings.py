"""The settings of Oracle Cloud Infrastructure: `[oci]` in `providers.toml`."""

from pathlib import Path
from typing import NamedTuple, Self

from pydantic import model_validator

from relight.providers.locations import LocationSettings, Name, ProviderSettings

URL = "https://iaas.{region}.oraclecloud.com"
STORAGE_URL = "https://objectstorage.{region}.oraclecloud.com"
VERSION = "/20160918"

ASSIGN_PUBLIC_IP = "assign_public_ip"
SECURITY_GROUPS = "network_security_groups"


class Shape(NamedTuple):
    """A machine type: `VM.Standard.E2.1`, or with its size `VM.Standard.A1.Flex:1:6`.

    Attributes:
        name: the vendor's.
        ocpus: of a flexible shape; None: the shape has a fixed size.
        memory_gb: likewise.
    """

    name: str
    ocpus: float | None = None
    memory_gb: float | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the shape that a setting names.

        Raises:
            ValueError: the text has another form.
        """
        name, *size = text.split(":")
        if len(size) not in (0, 2) or bool(size) != name.endswith(".Flex"):
            raise ValueError(
                f"shape {text}: write NAME, or NAME.Flex:OCPUS:MEMORY with the memory in GB"
            )
        try:
            return cls(name, *map(float, size))
        except ValueError:
            raise ValueError(f"shape {text}: OCPUS and MEMORY are numbers") from None


class OciSettings(ProviderSettings):
    """The settings of the account.

    A location's zones are availability domains, as in `Uocm:EU-FRANKFURT-1-AD-1`. A fault domain
    may follow after a slash; without one the vendor chooses it, which finds room more often. Its
    `extra` may have `assign_public_ip` (default true; false: machines are reached at their private
    addresses) and `network_security_groups` (a list of OCIDs).

    Attributes:
        url: of Compute's API; `{region}` in it becomes the region.
        storage_url: of object storage's own API, likewise.
        tenancy, user: their OCIDs.
        fingerprint: of the API key, as the vendor's console shows it.
        key_file: the API key's private key in PEM, without a passphrase.
        compartment: the OCID of the compartment that machines are created in and listed from.
    """

    url: str = URL
    storage_url: str = STORAGE_URL
    tenancy: Name
    user: Name
    fingerprint: Name
    key_file: Path
    compartment: Name

    @property
    def key_id(self) -> str:
        """Names the API key in a signature."""
        return f"{self.tenancy}/{self.user}/{self.fingerprint}"

    def url_of(self, region: str) -> str:
        """Return the URL of a region's API."""
        return self.url.replace("{region}", region) + VERSION

    @model_validator(mode="after")
    def _locations_can_be_used(self) -> Self:
        for region, location in self.locations.items():
            try:
                _require_usable(location)
            except ValueError as error:
                raise ValueError(f"locations.{region}: {error}") from None
        return self


def assigns_public_ip(location: LocationSettings) -> bool:
    """Return whether machines are reached at a public address."""
    return location.extra.get(ASSIGN_PUBLIC_IP, True) is True


def security_groups(location: LocationSettings) -> list[str]:
    """Return the OCIDs of the network security groups of each machine."""
    groups = location.extra.get(SECURITY_GROUPS, ())
    return list(groups) if isinstance(groups, tuple) else []


def _require_usable(location: LocationSettings) -> None:
    if not location.zones:
        raise ValueError("set zones: OCI does not choose an availability domain")
    if not location.subnet:
        raise ValueError("set subnet: OCI has no default network")
    for shape in location.shapes:
        Shape.read(shape)
    kinds = {ASSIGN_PUBLIC_IP: bool, SECURITY_GROUPS: tuple}
    for name, value in location.extra.items():
        if name not in kinds or not isinstance(value, kinds[name]):
            raise ValueError(
                f"extra.{name}: known are {ASSIGN_PUBLIC_IP} (true or false) and "
                f"{SECURITY_GROUPS} (a list of OCIDs)"
            )
