"""`relight route replace` and `relight pool`: another machine for a route, and those kept ready."""

from relight.domain.pool.pool import pool_workflow_id


async def test_a_route_is_given_another_machine_and_its_end_is_waited_for(installation):
    harness = installation.harness
    [route_id] = await installation.provision(1)
    ended = await installation.relight("route", "replace", route_id, "--reason", "its disk fails")
    assert ended.code == 0, ended
    assert f"proven at v0.0.73 on {route_id}-g2, made for it; {route_id}-g1 is gone" in ended.out
    [event] = harness.events(route_id, "machine-attached")
    assert event.reason == "its disk fails"


async def test_as_json_it_says_from_where_the_machine_came(installation):
    [route_id] = await installation.provision(1)
    ended = await installation.relight("route", "replace", route_id, "-r", "it is old", "--json")
    assert list(ended.json) == [
        *("route_id", "machine", "release_tag", "proof", "from_pool", "previous_machine_key")
    ]
    assert (ended.json["from_pool"], ended.json["previous_machine_key"]) == (
        False,
        f"{route_id}-g1",
    )


async def test_a_route_that_is_not_there_is_bad_input(installation):
    await installation.refuses(
        2, ("route", "replace", "nobody", "--reason", "it is old"), "nobody", "no route"
    )


async def test_a_pool_is_set_filled_and_listed(installation):
    harness, relight = installation.harness, installation.relight
    assert "no pools yet" in (await relight("pool", "list")).out
    assert (await relight("pool", "set", "fake", "fake-west", "1", "-r", "in case")).code == 0
    assert "fake/fake-west: 0 of 1 are ready" in (await relight("pool", "list")).out
    [route_id] = await installation.provision(1)
    await relight("pool", "set", "fake", "fake-east", "1")
    await relight("route", "replace", route_id, "-r", "it is old")
    pool = harness.client.get_workflow_handle(pool_workflow_id("fake", "fake-east"))
    await pool.result()
    listed = (await relight("pool", "list", "--json")).json
    assert [(each["region"], each["size"]) for each in listed["sizes"]] == [
        ("fake-east", 1),
        ("fake-west", 1),
    ]
    [machine] = listed["machines"]
    assert (machine["key"], machine["status"]) == ("pool-fake-fake-east-1", "ready")
