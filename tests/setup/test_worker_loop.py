"""The event loop of a worker: the faster one of the extra `fast`, where it is installed."""

import asyncio
import sys
from types import SimpleNamespace

import pytest

import worker


class FasterLoop(asyncio.SelectorEventLoop):
    """Stands for uvloop's, which is in no lock file."""


@pytest.fixture
def loop_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Filled with the loop in which `main` runs the worker."""
    used: list[object] = []

    async def run() -> None:
        used.append(asyncio.get_running_loop())

    monkeypatch.setattr(worker, "run", run)
    return used


def test_it_is_the_faster_one(
    loop_of_the_worker: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", SimpleNamespace(new_event_loop=FasterLoop))
    assert worker.main() == 0
    assert isinstance(loop_of_the_worker[0], FasterLoop)


def test_it_is_the_usual_one_without_the_extra(
    loop_of_the_worker: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert worker.main() == 0
    assert isinstance(loop_of_the_worker[0], asyncio.SelectorEventLoop)
