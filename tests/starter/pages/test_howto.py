"""The lines of docs/howto/your-own-service.md work as typed by a new user, with another package."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.inspection.conftest import ENABLED, made, unit
from tests.starter.pages.page import ROOT, lines_of
from tests.support.command_line import typed_in

PAGE = ROOT / "docs/howto/your-own-service.md"
INSIDE = re.compile(r"`(relight [^`]+)`")


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    # pytest's own folders are too long for the sockets of gpg-agent.
    with TemporaryDirectory(prefix="relight-howto-") as folder:
        yield Path(folder)
        await typed_in(Path(folder), "down")


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """A package of one's own with a unit, in a folder of releases."""
    postinst = {"postinst": ENABLED.format(unit="own-box.service")}
    units = {"own-box.service": unit("ExecStart=/bin/sleep infinity")}
    return made(tmp_path, units, "own-box", control_files=postinst)


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_each_line_works_as_typed(folder: Path, deb: Path) -> None:
    filled = {"redis-server": "own-box", "/srv/releases": str(deb.parent)}
    # The package is in no Debian, so its source is set from the beginning.
    exported = {"RELIGHT_DIRECTORY__PATH": str(deb.parent)}
    typed = []
    for line in lines_of(PAGE):
        program, *words = line.words(filled)
        if program == "export":
            name, _, value = words[0].partition("=")
            exported[name] = value
            continue
        ended = await typed_in(folder, *words, **exported)
        assert ended.code == 0, (line.text, ended)
        typed.append((words[0], ended))
    assert [word for word, _ in typed] == ["init", "service", "release", "up", "doctor", "down"]
    assert 'unit = "own-box.service"' in (folder / ".relight/service.toml").read_text()
    assert "own-box" in dict(typed)["doctor"].out
    assert "1.0" in dict(typed)["release"].out


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_what_the_text_types_works_too(folder: Path, deb: Path) -> None:
    """The two lines with a file."""
    in_text = INSIDE.findall(PAGE.read_text().replace("\n", " "))
    files = [each for each in in_text if each.endswith(".deb")]
    assert [each.split()[1] for each in files] == ["init", "service"]
    for each in files:
        name = re.findall(r"\./(\S+)", each)[0]
        shutil.copy(deb, folder / name)
        ended = await typed_in(folder, *each.split()[1:])
        assert ended.code == 0, (each, ended)
