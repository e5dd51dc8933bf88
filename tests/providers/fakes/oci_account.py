"""What Oracle Cloud Infrastructure holds for one account: instances, their boot volumes, images.

States follow from times, as at the vendor: an instance is PROVISIONING, runs, is TERMINATING, stays
listed as TERMINATED for twelve hours, and is purged.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.providers.fakes.base import Trap, VendorFake
from tests.providers.fakes.bill import Billed

FRANKFURT, PHOENIX = "eu-frankfurt-1", "us-phoenix-1"
FIXED, FLEX = "VM.Standard.E2.1", "VM.Standard.E4.Flex"
SHAPES = (f"{FLEX}:1:8", FIXED)

TENANCY, USER = "ocid1.tenancy.oc1..fleet", "ocid1.user.oc1..relight"
FINGERPRINT = "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff"
KEY_ID = f"{TENANCY}/{USER}/{FINGERPRINT}"

LISTED_AFTER_END = timedelta(hours=12)
TOKENS_KEPT = timedelta(hours=24)
FAULT_DOMAINS = ("FAULT-DOMAIN-1", "FAULT-DOMAIN-2", "FAULT-DOMAIN-3")


@dataclass
class Instance:
    """One instance.

    Attributes:
        details: the body of its launch.
        runs_at: when it has started; None: never.
        ends_at: when it is TERMINATED; None: nobody has asked for that, and its host has room.
        is_asked_to_end: whether somebody has.
    """

    id: str
    region: str
    number: int
    details: Mapping[str, Any]
    created_at: datetime
    runs_at: datetime | None
    ends_at: datetime | None = None
    is_asked_to_end: bool = False
    is_stopped: bool = False

    def state(self, now: datetime) -> str:
        if self.ends_at is not None and now >= self.ends_at:
            return "TERMINATED"
        if self.is_asked_to_end:
            return "TERMINATING"
        if self.runs_at is None or now < self.runs_at:
            return "PROVISIONING"
        return "STOPPED" if self.is_stopped else "RUNNING"

    def is_purged(self, now: datetime) -> bool:
        return self.ends_at is not None and now >= self.ends_at + LISTED_AFTER_END


@dataclass
class Image:
    """One image.

    Attributes:
        shapes: that it boots on.
        is_platform: offered by the vendor to all tenancies.
        is_listed_to_all: an application of the vendor's market.
    """

    region: str
    name: str
    shapes: tuple[str, ...]
    created_at: datetime
    state: str = "AVAILABLE"
    tags: dict[str, str] = field(default_factory=dict)
    is_platform: bool = False
    is_listed_to_all: bool = False


class KnownToken(NamedTuple):
    """A retry token, and what was created with it."""

    instance: Instance
    payload: str
    used_at: datetime


class OciAccount(VendorFake):
    """One tenancy with one compartment.

    Attributes:
        compartment: its id; there is no other.
        regions: those that the tenancy is subscribed to.
        starts_within, ends_within: how long an instance is PROVISIONING and TERMINATING.
        limits: how many instances of a shape may exist; of others, any number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.compartment = "ocid1.compartment.oc1..fleet"
        self.regions: tuple[str, ...] = (FRANKFURT, PHOENIX)
        self.starts_within = self.ends_within = timedelta(milliseconds=30)
        self.limits: dict[str, int] = {}
        self.instances: dict[str, Instance] = {}
        self.images: dict[str, Image] = {}
        self.histories: dict[str, dict[str, Any]] = {}
        self._tokens: dict[tuple[str, str], KnownToken] = {}
        self._numbers = itertools.count(1)

    def zones(self, region: str) -> tuple[str, ...]:
        return tuple(f"Uocm:{region.upper()}-AD-{number}" for number in (1, 2, 3))

    def subnet(self, region: str) -> str:
        return f"ocid1.subnet.oc1.{region}.fleet"

    def add_image(self, region: str, name: str, shapes: tuple[str, ...]) -> str:
        number = next(self._numbers)
        image = f"ocid1.image.oc1.{region}.{number:06}"
        self.images[image] = Image(region, name, shapes, self.now())
        return image

    def known_token(self, region: str, token: str) -> KnownToken | None:
        known = self._tokens.get((region, token))
        return known if known and self.now() < known.used_at + TOKENS_KEPT else None

    def launch(self, region: str, details: Mapping[str, Any], token: str) -> Instance:
        """Create an instance, and remember its retry token."""
        number, now = next(self._numbers), self.now()
        runs_at = now + self.starts_within
        instance = Instance(
            id=f"ocid1.instance.oc1.{region}.{number:06}",
            region=region,
            number=number,
            details=details,
            created_at=now,
            runs_at=None if Trap.NEVER_STARTS in self.traps else runs_at,
        )
        self.instances[instance.id] = instance
        self._tokens[region, token] = KnownToken(instance, payload_of(details), now)
        key = details["displayName"]
        self.bill.begin(Billed.MACHINE, instance.id, key, now)
        self.bill.begin(Billed.VOLUME, instance.id, key, now)
        if Trap.STARTS_FAILED in self.traps:
            # It was accepted, and then no host had room.
            self._end(instance, runs_at, keeps_volume=False)
        return instance

    def terminate(self, instance: Instance, *, keeps_volume: bool) -> None:
        instance.is_asked_to_end = True
        self._end(instance, self.now() + self.ends_within, keeps_volume=keeps_volume)

    def listed(self, region: str) -> list[Instance]:
        """Every instance that is listed, newest first."""
        now = self.now()
        found = [
            each
            for each in reversed(self.instances.values())
            if each.region == region and not each.is_purged(now)
        ]
        if Trap.STALE_LISTING in self.traps:
            found = found[1:]
        return [*found, *found] if Trap.DUPLICATE_LISTING in self.traps else found

    def alive(self, shape: str) -> int:
        """How many instances of a shape exist."""
        now = self.now()
        alive = (each for each in self.instances.values() if each.state(now) != "TERMINATED")
        return sum(each.details["shape"] == shape for each in alive)

    def _end(self, instance: Instance, at: datetime, *, keeps_volume: bool) -> None:
        instance.ends_at = at
        self.bill.end(Billed.MACHINE, instance.id, at)
        if not keeps_volume:
            self.bill.end(Billed.VOLUME, instance.id, at)


def payload_of(details: Mapping[str, Any]) -> str:
    return json.dumps(details, sort_keys=True)


@cache
def api_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def pem() -> bytes:
    """The API key, as its file has it."""
    return api_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def time_text(moment: datetime) -> str:
    """A time as the API writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
