"""The in-process command line answers as a process does, and leaves nothing of a command behind."""

import asyncio
import os
import sys

import pytest

from starter import cli


@pytest.mark.parametrize(
    "words",
    [
        ("settings", "get", "--json"),
        ("settings", "set", "default_release_tag", "0.0.74"),
    ],
    ids=" ".join,
)
async def test_it_ends_as_a_process_does(relight, words):
    assert await relight(*words) == await relight.processes(*words)


async def test_commands_at_the_same_time_have_separate_outputs(relight):
    assert (await relight("init")).code == 0
    answers = await asyncio.gather(
        relight("settings", "get", "--json"), relight("track", "show", "--json"), relight("--help")
    )
    assert [answer.json for answer in answers[:2]] == [{}, []]
    assert "Usage: relight" in answers[2].out


async def test_environment_and_streams_are_restored(relight, monkeypatch):
    assert (await relight("init")).code == 0
    monkeypatch.setenv("RELIGHT_STORE_URL", "mysql://not-for-the-command")
    before, streams = dict(os.environ), (sys.stdout, sys.stderr)
    ended = await relight.where(RELIGHT_TASK_QUEUE="mine")("fleet", "status")
    assert ended.code == 0
    assert (dict(os.environ), (sys.stdout, sys.stderr)) == (before, streams)


async def test_a_bug_is_raised_in_the_test(relight, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("route")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(KeyError):
        await relight("fleet", "status")
