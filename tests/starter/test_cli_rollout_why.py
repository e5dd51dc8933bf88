"""`relight rollout why`: the failed hosts and what to do, in the words of the Temporal UI."""

import shlex

import pytest

from starter.cli.operations import current_details


@pytest.fixture
async def stopped(installation, three_routes):
    """The route on which a rollout of v0.0.76 was stopped, without a rollback."""
    ended = await installation.relight("rollout", "start", "v0.0.76", "--keep-failed", "--wait")
    assert ended.code == 1
    return three_routes[0]


async def test_a_failed_host_is_named_with_its_remedy_and_a_command_that_works(
    installation, stopped
):
    why = await installation.relight("rollout", "why", "--json")
    assert why.code == 0
    [host] = why.json["failed"]
    assert (host["route_id"], host["machine_key"]) == (stopped, f"{stopped}-g1")
    assert (host["fault"], host["remedy"]) == ("unit-crash-looping", "roll back")
    assert host["command"] == f"relight route rollback {stopped}"
    assert (why.json["more_failed"], why.json["waited_seconds"]) == (0, None)
    assert "relight rollout why v0.0.76" in why.json["to_do"]
    followed = await installation.relight(*shlex.split(host["command"])[1:])
    assert followed.code == 0, followed
    assert installation.harness.route(stopped).current_release_tag == "v0.0.73"


async def test_the_command_line_the_json_and_the_temporal_ui_have_the_same_words(
    installation, stopped
):
    text = (await installation.relight("rollout", "why")).out
    answer = (await installation.relight("rollout", "why", "--json")).json
    handle = installation.harness.client.get_workflow_handle("rollout/v0.0.76/fleet")
    page = (await current_details(handle)).replace("\\", "")
    [host] = answer["failed"]
    words = ("route_id", "progress", "machine_key", "fault", "remedy", "advice", "command")
    for said in (*(host[each] for each in words), answer["to_do"], answer["waits_for"]):
        assert said in " ".join(text.split())
        assert said in page
    assert "nothing" not in page
    assert "None" not in page


async def test_a_rollout_that_waits_says_for_how_long_and_until_when(installation, three_routes):
    await installation.relight("rollout", "start", "v0.0.74", "--approval", "canary")
    await installation.harness.until(
        lambda: installation.harness.store.rollouts.list()[0].phase == "holding"
    )
    why = await installation.relight("rollout", "why", "--json")
    assert why.json["until"] == "a person approves or aborts it"
    assert why.json["waited_seconds"] >= 0
    assert "it has waited for " in (await installation.relight("rollout", "why")).out


async def test_the_page_of_a_refused_rollout_says_that_nothing_was_changed(
    installation, three_routes
):
    await installation.refuses(2, ("rollout", "start", "v0.9.9"), "v0.9.9")
    handle = installation.harness.client.get_workflow_handle("rollout/v0.9.9/fleet")
    page = await current_details(handle)
    assert page.startswith("Refused: nothing was changed.")
    assert "release-unknown" in page
    assert "None" not in page
