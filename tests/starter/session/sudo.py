"""Plays a session of a person who types some commands behind sudo and some without."""

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from relight.domain.event import Event
from relight.store.store import open_store
from tests.starter.session.player import Player
from tests.starter.session.transcript import Typed
from tests.starter.test_sudo_user import RELEASES, SUDO, as_nobody, others_files
from tests.support.command_line import Ended, typed_in


class SudoPlayer(Player):
    """Types in a folder of the person's. After each command all in its home is the person's."""

    @classmethod
    @asynccontextmanager
    async def in_folder(cls, folder: Path) -> AsyncIterator["SudoPlayer"]:
        """Yield a player; nothing runs in its folder afterwards."""
        try:
            yield cls(folder)
        finally:
            await as_nobody(folder, "down")

    async def type_in(self, typed: Typed) -> Ended:
        command, *words = shlex.split(typed.words)
        assert command == "relight"
        match typed.how:
            case "behind sudo":
                return await typed_in(self.folder, *words, **SUDO, **RELEASES)
            case "":
                return await as_nobody(self.folder, *words)
        raise AssertionError(f"unknown: {typed.how}")

    def happens(self, what: str) -> None:
        raise AssertionError(f"unknown: {what}")

    async def until_still(self) -> None:
        assert others_files(self.folder) == []

    def events(self) -> list[Event]:
        store = self.folder / ".relight" / "fleet.db"
        if not store.exists():
            return []
        with open_store(f"sqlite:///{store}") as opened:
            return opened.events.list()
