"""Creations that a listing may still lack."""

import asyncio
from datetime import timedelta

from relight.providers.openstack.recent import RecentCreations

KEY = "r-1-g1"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_creation_is_recent_until_it_has_settled():
    clock = Clock()
    recent = RecentCreations(timedelta(seconds=10), clock)
    assert not recent.is_recent(KEY)
    recent.note(KEY)
    assert (recent.is_recent(KEY), recent.id_of(KEY)) == (True, None)
    clock.now += 9
    recent.note(KEY, "m-1")
    clock.now += 9
    assert (recent.is_recent(KEY), recent.id_of(KEY)) == (True, "m-1")
    clock.now += 1
    assert (recent.is_recent(KEY), recent.id_of(KEY)) == (False, None)


def test_what_was_not_made_is_forgotten():
    recent = RecentCreations(timedelta(seconds=10), Clock())
    recent.note(KEY)
    recent.forget(KEY)
    recent.forget("r-2-g1")
    assert not recent.is_recent(KEY)


def test_what_has_settled_takes_no_memory():
    clock = Clock()
    recent = RecentCreations(timedelta(seconds=10), clock)
    for number in range(1000):
        recent.note(f"r-{number}-g1")
        clock.now += 1
    assert len(recent) == 10


async def test_one_caller_at_a_time_creates_the_machine_of_a_key():
    recent = RecentCreations(timedelta(seconds=10))
    inside: list[str] = []
    most = 0

    async def create(key: str) -> None:
        nonlocal most
        async with recent.alone(key):
            inside.append(key)
            most = max(most, inside.count(key))
            await asyncio.sleep(0)
            inside.remove(key)

    await asyncio.gather(*(create(KEY) for _ in range(10)))
    assert most == 1
    async with recent.alone(KEY), asyncio.timeout(1), recent.alone("r-2-g1"):
        pass
