"""Comparison of the record with providers and hosts: which of them is behind."""

from collections.abc import Mapping
from enum import StrEnum

from relight.domain.base import Message, Origin
from relight.domain.machine import MachineAtProvider
from relight.domain.names import RouteId, TrackName

STORE_ADOPT_WORKFLOW_ID = "store/adopt-current"
"""The workflow id of the adoption of what is proven now. The engine admits one at a time."""


class Verdict(StrEnum):
    """Which side is behind.

    `agrees`: none. `record behind`: the host or the provider is newer than the record. `host
    behind`: the host runs an older release than it was proven at. `machine missing`: the provider
    does not have the machine. `unknown`: it could not be observed. `adopted`: the record was
    behind, and has what was proven now.
    """

    AGREES = "agrees"
    RECORD_BEHIND = "record behind"
    HOST_BEHIND = "host behind"
    MACHINE_MISSING = "machine missing"
    UNKNOWN = "unknown"
    ADOPTED = "adopted"


class Comparison(Message):
    """One thing on record, or at a provider, and what was found.

    Attributes:
        about: `route R`, `machine M` or `scope S`.
        recorded: what the record has, for a person; empty for nothing.
        found: what was found, for a person; empty for nothing.
        reason: one sentence for a person.
    """

    about: str
    verdict: Verdict
    recorded: str = ""
    found: str = ""
    reason: str = ""


class CompareRecordsInput(Message):
    """Compare the record with providers and hosts; with `adopt`, take what is proven now into it.

    Attributes:
        older: also take releases that are older than on record, as after a backup from before a
            rollback.
        track: the track of routes that are not on record, None to leave their machines alone.
        serves: machines of a pool that serve routes, by a person's word: keys by route.
    """

    origin: Origin
    adopt: bool = False
    older: bool = False
    track: TrackName | None = None
    serves: Mapping[RouteId, str] = {}


class RouteToCompare(Message):
    """A route, and what its provider has of it.

    Attributes:
        newer: machines that are newer than the record, the newest first.
        listed: whether its machine on record is listed; None if its provider gave no listing.
        track: for a route that is not on record: the track that it gets.
        serves: the machine that serves it by a person's word, None without one.
    """

    route_id: RouteId
    newer: tuple[MachineAtProvider, ...] = ()
    serves: MachineAtProvider | None = None
    listed: bool | None = None
    track: TrackName | None = None


class ProvidersCompared(Message):
    """What providers have, compared with the record.

    Attributes:
        routes: all routes that are not retired, and with a track those that are not on record.
        others: machines that belong to none of them.
        unobserved: the providers without a listing, each with the reason.
    """

    routes: tuple[RouteToCompare, ...]
    others: tuple[Comparison, ...] = ()
    unobserved: tuple[str, ...] = ()


class CompareRoutesInput(Message):
    """Compare the record of these routes with their hosts."""

    routes: tuple[RouteToCompare, ...]
    origin: Origin
    adopt: bool = False
    older: bool = False


class CompareScopesInput(Message):
    """Compare what is declared with what the routes of each scope are proven at.

    Attributes:
        older: an older release than is declared counts too.
    """

    origin: Origin
    adopt: bool = False
    older: bool = False


class Compared(Message):
    """The results of a part of the comparison."""

    comparisons: tuple[Comparison, ...]


class RecordsCompared(Message):
    """The result of the whole comparison.

    Attributes:
        comparisons: what does not agree, up to a limit.
        count: how many do not agree, by verdict, and how many do.
        unobserved: the providers without a listing, each with the reason.
    """

    comparisons: tuple[Comparison, ...] = ()
    count: Mapping[Verdict, int] = {}
    unobserved: tuple[str, ...] = ()
