"""What a provider says of our account and of the configured regions: for `relight provider check`.

A driver that can say more than that it can log in has a method `report`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class RegionReport:
    """One configured region.

    Attributes:
        name: the provider's.
        architecture: Debian's name.
        image: the image that a machine would get now; None: there is none.
        problems: why no machine could be made there, one sentence each.
    """

    name: str
    architecture: str
    image: str | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProviderReport:
    """One account.

    Attributes:
        account: who the credentials belong to.
        rights: what they may do, as the provider names it.
        regions: the configured ones, ordered by name.
        limits: of the account or of the API, by name, as text.
        problems: of the account as a whole, one sentence each.
    """

    account: str
    rights: tuple[str, ...]
    regions: tuple[RegionReport, ...]
    limits: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@runtime_checkable
class Reporting(Protocol):
    """A driver with a report."""

    async def report(self) -> ProviderReport:
        """Return what the provider says now; nothing is changed.

        Raises:
            ProviderError: it could not be asked.
        """
