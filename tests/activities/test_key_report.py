"""What a worker reports of its keys: at once when they change, and no longer than it runs."""

import asyncio
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from relight.domain.key_rotation import KeyKind
from relight.hosts.key_files import KeyFiles, worker_name
from relight.key_report import reporting_keys
from relight.store.store import Store
from starter.local.children import wait_until
from starter.local.home import make_next, new_client_key, prepare_home

SOON = timedelta(seconds=10)


@pytest.fixture
def dead_worker() -> str:
    """The name of a process of this computer that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return f"{ended.pid}@{socket.gethostname()}"


async def test_a_changed_file_is_reported_at_once_and_a_stopped_worker_is_forgotten(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relight.key_report.CHECK_EVERY", timedelta(milliseconds=20))
    ssh = prepare_home(tmp_path / "home")
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)

    async def reported() -> bool:
        found = await asyncio.to_thread(store.worker_keys.list)
        return [(each.worker, each.client) for each in found] == [
            (worker_name(), keys().fingerprints(KeyKind.CLIENT))
        ]

    async with reporting_keys(store, keys):
        await wait_until(reported, SOON)
        make_next(ssh.client_key, new_client_key())
        assert len(keys().clients) == 2
        await wait_until(reported, SOON)
    assert store.worker_keys.list() == ()


async def test_a_killed_worker_of_this_computer_is_reported_no_more(
    store: Store, tmp_path: Path, dead_worker: str
) -> None:
    ssh = prepare_home(tmp_path / "home")
    store.worker_keys.report(dead_worker, ("x",), ("y",))
    store.worker_keys.report("1@elsewhere", ("x",), ("y",))
    async with reporting_keys(store, KeyFiles(ssh.client_key, ssh.host_key_secret)):
        workers = {each.worker for each in await asyncio.to_thread(store.worker_keys.list)}
        assert dead_worker not in workers
        assert "1@elsewhere" in workers
