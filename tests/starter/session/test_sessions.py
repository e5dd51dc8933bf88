"""What people type and read is kept: a change of it is seen in a file, and has to be meant.

`RELIGHT_SESSIONS=write make test ARGS=tests/starter/session` writes what is shown now; read the
difference.
"""

import asyncio
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tests.starter.installation import Installation
from tests.starter.session.player import Happening, Player
from tests.starter.session.transcript import Typed, read

SESSIONS = sorted(Path(__file__).parent.glob("*.console"))


def _loses_its_network(key: str) -> Happening:
    return lambda installation: installation.harness.hosts.unreachable.add(key)


def _is_back(key: str) -> Happening:
    return lambda installation: installation.harness.hosts.unreachable.discard(key)


HAPPENINGS = {
    "machine eu-2-g1 loses its network": _loses_its_network("eu-2-g1"),
    "machine eu-2-g1 is back": _is_back("eu-2-g1"),
}


@pytest.mark.slow
@pytest.mark.timeout(600)  # Sixty commands; some start a process of their own.
@pytest.mark.parametrize("session", SESSIONS, ids=lambda path: path.stem)
async def test_a_session_shows_what_it_showed(
    installation: Installation,
    published: Mapping[str, str],
    session: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("activities.fleet.verification.PAUSE", timedelta(milliseconds=10))
    player = Player(installation, published, tmp_path, HAPPENINGS)
    kept = await asyncio.to_thread(session.read_text)
    shown = await player.play(kept)
    if os.environ.get("RELIGHT_SESSIONS") == "write":
        await asyncio.to_thread(session.write_text, shown)
    assert shown == kept


def test_a_hundred_and_twenty_commands_are_kept() -> None:
    typed = [
        part
        for session in SESSIONS
        for part in read(session.read_text())
        if isinstance(part, Typed)
    ]
    assert len(typed) >= 120
