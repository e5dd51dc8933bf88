"""Behind sudo: what root makes in a home belongs to the person, who then needs no sudo."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from relight.person import Person, config_folder, owner_of, person
from starter.local.children import wait_until
from tests.support.command_line import Ended, bare_environment, typed_in

ROOT = Path(__file__).parents[2]
NOBODY = Person(65534, 65534)
SUDO = {"SUDO_UID": str(NOBODY.uid), "SUDO_GID": str(NOBODY.gid)}
AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
RELEASES = {"RELIGHT_GITHUB__REPOSITORY": "owner/name"}

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not NOBODY.may_reach(ROOT / ".venv"),
    reason="only root can act as two accounts, and the other one has to reach the checkout",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of a person's, which tests of root's cannot have below their own."""
    top = Path(tempfile.mkdtemp(prefix="relight-sudo-"))
    own = top / "checkout"
    own.mkdir()
    for each in (top, own):
        os.chown(each, *NOBODY)
    yield own
    shutil.rmtree(top)


async def as_nobody(folder: Path, *words: str, **variables: str) -> Ended:
    python = str(ROOT / ".venv" / "bin" / "python")
    process = await asyncio.create_subprocess_exec(
        *(*AS_NOBODY, python, "-m", "starter.cli", *words),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **bare_environment(folder),
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            **RELEASES,
            **variables,
        },
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


def others_files(folder: Path) -> list[str]:
    """Return what in a folder does not belong to the person."""
    found = [folder, *folder.rglob("*")]
    return [str(each) for each in found if each.lstat().st_uid != NOBODY.uid]


def uids_of(pid: int) -> list[int]:
    """Return the real, effective, saved and file-system user id of a process."""
    status = Path("/proc", str(pid), "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("Uid:"))
    return [int(word) for word in line.split()[1:]]


async def has_ended(pid: int) -> bool:
    return pid not in running()


def running() -> set[int]:
    return {int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()}


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@needs_root
async def test_a_home_that_was_made_behind_sudo_needs_no_sudo(folder: Path) -> None:
    up = await typed_in(
        folder, "up", "--detach", "--no-lab", "--i-understand", "--json", **SUDO, **RELEASES
    )
    assert up.code == 0, up
    try:
        home = folder / ".relight"
        assert others_files(home) == []
        supervisor = up.json["pid"]
        assert uids_of(supervisor) == [NOBODY.uid, 0, 0, 0]
        assert len(children_of(supervisor)) == 2  # Temporal and the worker
        for child in children_of(supervisor):
            assert uids_of(child) == [NOBODY.uid] * 4
        for words in (
            ("fleet", "status"),
            ("settings", "set", "--unchecked", "default_release_tag", "v0.0.73"),
            ("track", "set", "stable"),
            ("schedule", "list"),
            ("keys", "status"),
            ("store", "check"),
            ("context", "add", "mine", "--home", str(home)),
            ("up", "--detach", "--no-lab", "--i-understand"),
        ):
            ended = await as_nobody(folder, *words)
            assert ended.code == 0, (words, ended)
        # What root types afterwards stays the person's as well.
        again = await typed_in(
            folder, "settings", "set", "--unchecked", "default_release_tag", "v0.0.74", **SUDO
        )
        assert again.code == 0, again
        assert others_files(home) == []
        events = (await as_nobody(folder, "events", "--json")).out.splitlines()
        asked = {json.loads(each)["requested_by"] for each in events}
        assert asked == {f"nobody@{socket.gethostname()}"}
    finally:
        stopped = await as_nobody(folder, "down")
    assert (stopped.code, stopped.out) == (0, "stopped\n"), stopped
    await wait_until(partial(has_ended, supervisor), timedelta(seconds=20))
    assert others_files(home) == []


@needs_root
async def test_what_root_itself_runs_is_not_stopped_by_another_account(folder: Path) -> None:
    up = await typed_in(
        folder, "up", "--detach", "--no-lab", "--i-understand", "--no-worker", "--json"
    )
    assert up.code == 0, up
    try:
        home = folder / ".relight"
        assert home.stat().st_uid == 0
        for words in (("down",), ("fleet", "status"), ("doctor",)):
            ended = await as_nobody(folder, *words)
            assert ended.code == 3, (words, ended)
            assert str(home) in ended.said
    finally:
        assert (await typed_in(folder, "down")).out == "stopped\n"


@needs_root
async def test_contexts_that_are_saved_behind_sudo_are_the_persons(folder: Path) -> None:
    assert (await typed_in(folder, "init", **SUDO)).code == 0
    assert others_files(folder) == []
    home = str(folder / ".relight")
    assert (await typed_in(folder, "context", "add", "a", "--home", home, **SUDO)).code == 0
    assert others_files(folder.parent / "config") == []
    assert (await as_nobody(folder, "context", "use", "a")).code == 0


@needs_root
def test_behind_sudo_the_person_is_the_one_who_typed_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert person() == owner_of(folder) == Person(0, 0)
    for name, value in SUDO.items():
        monkeypatch.setenv(name, value)
    assert person() == owner_of(folder) == NOBODY
    # Where the person cannot go, all stays root's.
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert owner_of(closed / "..") in (NOBODY, Person(0, 0))
    (closed / "home").mkdir()
    assert owner_of(closed / "home") == Person(0, 0)
    assert config_folder() == NOBODY.home / ".config" / "relight"


def test_a_command_as_root_gives_back_what_it_made_and_keeps_its_exit_code(tmp_path: Path) -> None:
    scripts, programs, calls = tmp_path / "scripts", tmp_path / "bin", tmp_path / "calls"
    scripts.mkdir()
    programs.mkdir()
    script = (ROOT / "scripts" / "as-root").read_text()
    as_person = script.replace("((EUID == 0))", "((1000 == 0))")
    assert as_person != script
    (scripts / "as-root").write_text(as_person)
    (programs / "sudo").write_text(
        f'#!/usr/bin/env bash\necho "$*" >>{calls}\n'
        '[[ $1 == -n ]] && exit 0\n[[ $1 == --preserve-env ]] || exit 0\nshift 2\n"$@"\n'
    )
    (programs / "sudo").chmod(0o755)
    ended = subprocess.run(
        ["bash", scripts / "as-root", "bash", "-c", "exit 7"],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        check=False,
    )
    assert ended.returncode == 7
    asked, ran, given = calls.read_text().splitlines()
    assert (asked, ran) == ("-n true", "--preserve-env -- bash -c exit 7")
    assert given.startswith(f"find {scripts}/.. -xdev")
    assert f"-user root -exec chown --no-dereference {os.getuid()}:{os.getgid()}" in given
