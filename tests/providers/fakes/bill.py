"""What a fake vendor bills: which machine and which volume existed from when to when."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Billed(StrEnum):
    MACHINE = "machine"
    VOLUME = "volume"


@dataclass(frozen=True)
class Entry:
    """One thing that costs money, by the vendor's id; `until` is None while it exists."""

    kind: Billed
    id: str
    key: str
    since: datetime
    until: datetime | None = None


class Bill:
    """The entries of one account, in the order in which they began."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Billed, str], Entry] = {}

    def begin(self, kind: Billed, id: str, key: str, at: datetime) -> None:
        assert (kind, id) not in self._entries, f"{kind} {id} is billed twice"
        self._entries[kind, id] = Entry(kind, id, key, at)

    def end(self, kind: Billed, id: str, at: datetime) -> None:
        entry = self._entries[kind, id]
        assert entry.until is None, f"{kind} {id} ends twice"
        self._entries[kind, id] = replace(entry, until=at)

    def is_running(self, kind: Billed, id: str, at: datetime) -> bool:
        """Whether one thing costs money at a time."""
        until = self._entries[kind, id].until
        return until is None or until > at

    def entries(self, key: str | None = None) -> list[Entry]:
        return [each for each in self._entries.values() if key in {None, each.key}]

    def running(self, kind: Billed | None = None) -> list[Entry]:
        """What costs money now."""
        return [each for each in self.entries() if each.until is None and kind in {None, each.kind}]
