"""The scripts that change authorized_keys, run by the real shell in a folder of their own."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from relight.hosts.authorized_keys import ADD, REMOVE
from relight.hosts.key_files import ClientKey, client_key_of

OLD, NEW = (client_key_of(asyncssh.generate_private_key("ssh-ed25519")) for _ in range(2))
THEIRS = client_key_of(asyncssh.generate_private_key("ssh-ed25519")).line


class Home:
    """A user's home folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / ".ssh/authorized_keys"

    def write(self, *lines: str, end: str = "\n") -> None:
        self.file.parent.mkdir()
        self.file.write_text("\n".join(lines) + end)

    def lines(self) -> list[str]:
        assert [path.name for path in self.file.parent.iterdir()] == ["authorized_keys"]
        assert stat.S_IMODE(self.file.stat().st_mode) & 0o077 == 0
        return self.file.read_text().splitlines()

    def add(self, key: ClientKey) -> int:
        return self._run(ADD, key.public, key.line)

    def remove(self, key: ClientKey, staying: ClientKey) -> int:
        return self._run(REMOVE, key.public, staying.public)

    def _run(self, script: str, *words: str) -> int:
        ended = subprocess.run(
            ["/bin/sh", "-c", script, "relight", *words],
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
            cwd="/",
            check=False,
            capture_output=True,
        )
        return ended.returncode


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    old = os.umask(0o077)
    try:
        yield Home(tmp_path)
    finally:
        os.umask(old)


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_key_is_added_behind_the_others(home: Home, end: str) -> None:
    home.write(THEIRS, OLD.line, end=end)
    assert home.add(NEW) == 0
    assert home.lines() == [THEIRS, OLD.line, NEW.line]
    assert home.add(NEW) == 0
    assert home.lines() == [THEIRS, OLD.line, NEW.line]


def test_a_file_that_is_missing_is_made(home: Home) -> None:
    assert home.add(NEW) == 0
    assert home.lines() == [NEW.line]
    assert stat.S_IMODE(home.file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("before", ["# ", 'expiry-time="20200101" ', "#"])
def test_a_key_in_a_line_that_does_not_accept_it_is_added(home: Home, before: str) -> None:
    line = f"{before}{NEW.line}"
    home.write(OLD.line, line)
    assert home.add(NEW) == 0
    assert home.lines() == [OLD.line, line, NEW.line]


def test_a_key_is_removed_in_every_form(home: Home) -> None:
    home.write(
        OLD.line, f'from="10.0.0.1" {OLD.line}', THEIRS, NEW.line, f"{OLD.public} another comment"
    )
    assert home.remove(OLD, NEW) == 0
    assert home.lines() == [THEIRS, NEW.line]
    assert home.remove(OLD, NEW) == 0
    assert home.lines() == [THEIRS, NEW.line]


@pytest.mark.parametrize("others", [[], [f"# {NEW.line}"], [THEIRS]])
def test_the_last_key_of_ours_is_never_removed(home: Home, others: list[str]) -> None:
    home.write(OLD.line, *others)
    assert home.remove(OLD, NEW) == 3
    assert home.lines() == [OLD.line, *others]


def test_a_full_disk_leaves_the_file_as_it_was(home: Home, tmp_path: Path) -> None:
    home.write(OLD.line)
    script = f"ulimit -f 0; {ADD}"  # no file may grow
    assert home._run(script, NEW.public, NEW.line) != 0
    assert OLD.line in home.file.read_text()
