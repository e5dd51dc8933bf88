"""What must never be after a run: the bill against the record, to the last machine and second."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from relight.store.machines import MachineRecord
from relight.store.tables import RecordStatus
from tests.providers.fakes.bill import Billed, Entry


def violations(
    bill: Sequence[Entry], records: Sequence[MachineRecord], foreign: Collection[str], now: datetime
) -> list[str]:
    """Return what is wrong, a line each.

    Args:
        bill: all entries of the vendor.
        records: all machines that were planned.
        foreign: the vendor's ids of machines that somebody else made.
        now: the time at which nothing is in flight any more.
    """
    by_key = {record.key: record for record in records}
    machines = [each for each in bill if each.kind is Billed.MACHINE]
    others = [each for each in machines if each.id in foreign]
    ours = [each for each in machines if each.id not in foreign]
    # A volume bears its machine's name, also that of a stranger: these have volumes of their own.
    taken = {each.key for each in others}
    volumes = [each for each in bill if each.kind is Billed.VOLUME and each.key not in taken]
    return [
        *_touched(others, foreign, now),
        *_twins(ours),
        *_orphans(ours, by_key, now),
        *_volumes(volumes, ours, now),
        *_not_on_record([*ours, *volumes], by_key),
        *_not_billed(by_key, {_id_of(each): each for each in ours}),
    ]


def is_running(entry: Entry, now: datetime) -> bool:
    """Return whether something still costs money."""
    return entry.until is None or entry.until > now


def vendor_id(provider_id: str) -> str:
    """Return the vendor's id of a machine: a provider id may begin with a region."""
    return provider_id.rpartition(":")[2]


def _id_of(entry: Entry) -> str:
    return entry.id


def _touched(others: Sequence[Entry], foreign: Collection[str], now: datetime) -> Iterator[str]:
    for missing in sorted(set(foreign) - {each.id for each in others}):
        yield f"the foreign machine {missing} is not billed"
    for each in others:
        if not is_running(each, now):
            yield f"the foreign machine {each.id} ({each.key}) was destroyed"


def _twins(ours: Sequence[Entry]) -> Iterator[str]:
    ordered = sorted(ours, key=lambda entry: (entry.key, entry.since))
    for first, second in itertools.pairwise(ordered):
        if first.key != second.key:
            continue
        overlap = first.until is None or first.until > second.since
        what = "are twins" if overlap else "are two machines, one after the other,"
        yield f"{first.id} and {second.id} {what} of {first.key}"


def _orphans(
    ours: Sequence[Entry], by_key: Mapping[str, MachineRecord], now: datetime
) -> Iterator[str]:
    for each in ours:
        if not is_running(each, now):
            continue
        record = by_key.get(each.key)
        is_claimed = (
            record is not None
            and record.status == RecordStatus.RUNNING
            and vendor_id(record.provider_id or "") == each.id
        )
        if not is_claimed:
            yield f"{each.id} ({each.key}) is an orphan"


def _volumes(volumes: Sequence[Entry], ours: Sequence[Entry], now: datetime) -> Iterator[str]:
    alive = {each.key for each in ours if is_running(each, now)}
    for each in volumes:
        if is_running(each, now) and each.key not in alive:
            yield f"the boot volume {each.id} of {each.key} is left"


def _not_on_record(entries: Sequence[Entry], by_key: Mapping[str, MachineRecord]) -> Iterator[str]:
    for each in entries:
        record = by_key.get(each.key)
        if record is None:
            yield f"{each.kind} {each.id} ({each.key}) was billed, and is not on record"
            continue
        begin, end = record.created_at, record.destroyed_at
        ends_in_time = end is None or (each.until is not None and each.until <= end)
        if each.since < begin or not ends_in_time:
            yield (
                f"{each.kind} {each.id} ({each.key}) was billed from {each.since} to {each.until}, "
                f"and is on record from {begin} to {end}"
            )
        if each.kind is Billed.MACHINE and vendor_id(record.provider_id or "") != each.id:
            yield f"{each.id} ({each.key}) was billed, and {record.provider_id} is on record"


def _not_billed(by_key: Mapping[str, MachineRecord], billed: Mapping[str, Entry]) -> Iterator[str]:
    for record in by_key.values():
        if record.provider_id is None:
            continue
        entry = billed.get(vendor_id(record.provider_id))
        if entry is None or entry.key != record.key:
            yield f"{record.provider_id} ({record.key}) is on record, and was never billed"
        elif record.destroyed_at is None and entry.until is not None:
            yield f"{record.provider_id} ({record.key}) runs on record, and ended at {entry.until}"
