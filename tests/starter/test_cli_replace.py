"""`relight route replace`: another machine for a route."""


async def test_a_machine_is_replaced_and_the_result_is_waited_for(installation):
    harness = installation.harness
    [route_id] = await installation.provision(1)
    ended = await installation.relight("route", "replace", route_id, "--reason", "its disk fails")
    assert ended.code == 0, ended
    assert f"proven at v0.0.73 on {route_id}-g2, newly created" in ended.out
    assert f"{route_id}-g1 is drained, and destroyed once" in ended.out
    [event] = harness.events(route_id, "machine-attached")
    assert event.reason == "its disk fails"


async def test_the_json_has_the_source_of_the_machine(installation):
    [route_id] = await installation.provision(1)
    ended = await installation.relight("route", "replace", route_id, "-r", "it is old", "--json")
    assert list(ended.json) == [
        *("route_id", "machine", "release_tag", "proof", "from_pool", "previous_machine_key"),
        *("instead_of", "instead_reason"),
    ]
    assert (ended.json["from_pool"], ended.json["previous_machine_key"]) == (
        False,
        f"{route_id}-g1",
    )


async def test_an_unknown_route_is_bad_input(installation):
    await installation.refuses(
        2, ("route", "replace", "nobody", "--reason", "it is old"), "nobody", "no route"
    )
