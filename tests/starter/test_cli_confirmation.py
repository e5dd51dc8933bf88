"""What destroys asks on a terminal, and nowhere else."""

import json

import pytest

from tests.starter.stores import refused
from tests.store.fleets import MANUAL, run_on, serve
from tests.support.command_line import Ended
from tests.support.terminal import CTRL_C, CTRL_D


@pytest.fixture
def retired(store):
    """A route that is retired, and whose machine is destroyed."""
    serve(store, "east-1")
    store.retirements.retire("east-1", run_on("east-1").activity())
    store.destructions.record("east-1-g1", MANUAL, reason="it is retired")
    return store


async def typed(relight, answer: str, *words: str) -> Ended:
    """Run a command on a terminal, and answer its question."""
    ended: Ended = await relight.typing(*words, after="[y/N]", keys=answer)
    return ended


async def test_any_answer_but_yes_changes_nothing(relight, retired):
    words = ("route", "delete", "east-1", "-r", "a typing error")
    ended = await typed(relight, "n\n", *words)
    assert ended.code == 3
    assert "route east-1 is removed from the record" in ended.out
    assert retired.routes.get("east-1") is not None
    ended = await typed(relight, "y\n", *words, "--json")
    assert ended.code == 0
    assert '"route_id": "east-1"' in ended.out
    assert retired.routes.get("east-1") is None


@pytest.mark.parametrize("left_by", [CTRL_C, CTRL_D], ids=["Ctrl-C", "Ctrl-D"])
async def test_a_question_that_is_left_changes_nothing(relight, retired, left_by):
    words = ("route", "delete", "east-1", "-r", "a typing error")
    left = "the question was not answered, so nothing was changed"
    ended = await typed(relight, left_by, *words)
    assert ended.code == 130
    assert left in ended.out.splitlines()[-1]
    ended = await typed(relight, left_by, *words, "--json")
    answer = json.loads(ended.out[ended.out.rindex("{") :])
    assert (ended.code, answer["exit_code"]) == (130, 130)
    assert (answer["kind"], answer["message"]) == ("interrupted", left)
    assert retired.routes.get("east-1") is not None


async def test_ctrl_c_that_is_typed_again_shows_no_traceback(relight, retired):
    words = ("route", "delete", "east-1", "-r", "a typing error")
    ended = await relight.typing(*words, after="[y/N]", keys=CTRL_C, again=CTRL_C)
    assert ended.code == 130
    assert "Traceback" not in ended.out


async def test_what_is_taken_into_the_store_needs_a_word_where_nobody_is_asked(relight, retired):
    for words in ((), ("--json",)):
        refused(await relight("store", "adopt-current", *words), 2, "add --yes, or --dry-run")


@pytest.mark.parametrize("option", [(), ("--yes",)])
async def test_a_script_is_not_asked(relight, retired, option):
    ended = await relight("route", "delete", "east-1", "-r", "a typing error", *option)
    assert (ended.code, ended.out) == (0, "east-1 is deleted; its events stay\n")


async def test_what_is_still_needed_is_not_deleted(relight, retired):
    serve(retired, "east-2")
    reason = ("--reason", "a typing error")
    refused(await relight("route", "delete", "east-2", *reason), 3, "relight route retire east-2")
    refused(await relight("route", "delete", "nowhere-1", *reason), 2, "nowhere-1")
    refused(await relight("track", "delete", "stable"), 3, "relight route list --track stable")
    refused(await relight("track", "delete", "nowhere"), 2, "nowhere")
    refused(await relight("pool", "delete", "lab", "eu-1"), 3, "relight pool list")


async def test_an_empty_track_and_an_empty_pool_are_deleted(relight, store):
    store.tracks.set("beta", None, MANUAL)
    store.pool_sizes.set("lab", "eu-1", 0, MANUAL)
    assert (await relight("track", "delete", "beta")).out == "track beta is deleted\n"
    deleted = await relight("pool", "delete", "lab", "eu-1", "--json")
    assert deleted.json == {"provider": "lab", "region": "eu-1"}
    assert [track.name for track in store.tracks.list()] == ["stable"]
