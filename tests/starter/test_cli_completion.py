"""The shell completes the names that the store has, and asks nothing else."""

import pytest

from tests.starter.in_process import InProcess
from tests.starter.stores import refused
from tests.store.fleets import serve


async def completed(relight: InProcess, words: str, **variables: str) -> list[str]:
    asking = relight.where(
        _RELIGHT_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(words.count(" ")),
        **variables,
    )
    ended = await asking.processes()
    assert (ended.code, ended.err) == (0, "")
    return ended.out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("relight route show east", ["east-1", "east-2"]),
        ("relight route list --track s", ["stable"]),
        ("relight track show s", ["stable"]),
        ("relight fleet st", ["status"]),
    ],
)
async def test_names_of_the_store_are_completed(relight, store, words, offered):
    serve(store, "east-1")
    serve(store, "east-2")
    assert await completed(relight, words) == offered


async def test_without_a_fleet_nothing_is_offered_and_nothing_is_made(relight, tmp_path):
    assert await completed(relight, "relight route show e") == []
    assert list(tmp_path.iterdir()) == []
    refused(await relight("route", "list"), 3, "there is no fleet here")


async def test_a_store_that_cannot_be_read_offers_nothing(relight, store):
    elsewhere = "postgresql://nobody@127.0.0.1:1/none"
    assert await completed(relight, "relight route show e", RELIGHT_STORE_URL=elsewhere) == []
