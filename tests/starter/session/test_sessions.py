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
from tests.starter.session.player import FleetPlayer, Happening, Player, Still
from tests.starter.session.sudo import SudoPlayer
from tests.starter.session.transcript import Typed, read
from tests.starter.test_sudo_user import folder as persons_folder
from tests.starter.test_sudo_user import needs_root

ALL = sorted(Path(__file__).parent.glob("*.console"))
BEHIND_SUDO = Path(__file__).parent / "sudo.console"
SESSIONS = [each for each in ALL if each != BEHIND_SUDO]

__all__ = ["persons_folder"]


def _loses_its_network(key: str) -> Happening:
    return lambda installation: installation.harness.hosts.unreachable.add(key)


def _is_back(key: str) -> Happening:
    return lambda installation: installation.harness.hosts.unreachable.discard(key)


def _does_not_boot(key: str) -> Happening:
    def happens(installation: Installation) -> Still:
        harness = installation.harness
        harness.hosts.unreachable.add(key)

        def is_recorded() -> bool:
            return key in {each.machine_key for each in harness.events(kind="machine-recorded")}

        return lambda: harness.until(is_recorded)

    return happens


def _installations_hang(installation: Installation) -> Still:
    return installation.harness.hosts.hold_installs().reached


def _installations_go_on(installation: Installation) -> None:
    gate = installation.harness.hosts.gate
    assert gate is not None
    gate.open()


HAPPENINGS: Mapping[str, Happening] = {
    "machine eu-2-g1 loses its network": _loses_its_network("eu-2-g1"),
    "machine eu-2-g1 is back": _is_back("eu-2-g1"),
    "machine eu-5-g1 does not boot": _does_not_boot("eu-5-g1"),
    "machine eu-5-g1 boots": _is_back("eu-5-g1"),
    "installations hang": _installations_hang,
    "installations go on": _installations_go_on,
}


async def plays_as_kept(session: Path, player: Player) -> None:
    kept = await asyncio.to_thread(session.read_text)
    shown = await player.play(kept)
    if os.environ.get("RELIGHT_SESSIONS") == "write":
        await asyncio.to_thread(session.write_text, shown)
    assert shown == kept


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
    player = FleetPlayer(installation, published, tmp_path, HAPPENINGS)
    await plays_as_kept(session, player)


@needs_root
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_session_behind_sudo_leaves_nothing_of_roots(persons_folder: Path) -> None:
    async with SudoPlayer.in_folder(persons_folder) as player:
        await plays_as_kept(BEHIND_SUDO, player)


def test_a_hundred_and_twenty_commands_are_kept() -> None:
    typed = [
        part for session in ALL for part in read(session.read_text()) if isinstance(part, Typed)
    ]
    assert len(typed) >= 120
