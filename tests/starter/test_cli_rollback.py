"""Rollbacks on the command line: of a stopped rollout, of a whole release, and of one route."""


async def test_a_bad_release_is_rolled_back_on_the_hosts_that_it_reached(
    installation, three_routes
):
    canary = three_routes[0]
    ended = await installation.relight("rollout", "start", "v0.0.76", "--wave", "1", "--wait")
    assert ended.code == 1
    assert f"{canary}: failed" in ended.err
    assert f"{canary}: proven at v0.0.73 again" in ended.err
    assert "1 rolled back, 2 untouched" in ended.out
    assert "unit-crash-looping" in ended.out
    for route_id in three_routes:
        route = installation.harness.route(route_id)
        assert (route.status, route.current_release_tag) == ("serving", "v0.0.73")


async def test_a_route_is_rolled_back_by_command_and_proven_there(installation, three_routes):
    await installation.relight("rollout", "start", "v0.0.74", "--wait")
    back = await installation.relight("route", "rollback", three_routes[0], "-r", "it leaks")
    assert back.code == 0, back
    assert f"{three_routes[0]}: proven at v0.0.73" in back.out
    again = await installation.relight("route", "rollback", three_routes[0], "--json")
    assert (again.json["release_tag"], again.json["previous_release_tag"]) == ("v0.0.74", "v0.0.73")


async def test_without_a_previous_release_a_rollback_is_refused(installation, three_routes):
    refused = await installation.relight("route", "rollback", three_routes[0])
    assert refused.code == 3
    assert (
        f"route {three_routes[0]} was never proven at a release other than v0.0.73" in refused.err
    )
    unknown = await installation.relight("route", "rollback", "nobody")
    assert (unknown.code, "there is no route nobody" in unknown.err) == (2, True)


async def test_undo_brings_back_the_newest_rollout_and_is_found_like_one(
    installation, three_routes
):
    done = await installation.relight("rollout", "start", "v0.0.74", "--wait")
    assert done.code == 0, done
    undone = await installation.relight("rollout", "undo", "--wait", "-r", "it leaks")
    assert undone.code == 0, undone
    assert "undo of v0.0.74 over fleet: converged" in undone.out
    for route_id in three_routes:
        assert f"{route_id}: proven at v0.0.73" in undone.err
        assert installation.harness.route(route_id).current_release_tag == "v0.0.73"
    declared = await installation.relight("settings", "get", "default_release_tag")
    assert declared.out == "v0.0.73\n"
    status = await installation.relight("rollout", "status", "v0.0.74", "--json")
    assert (status.json["undo"], status.json["phase"]) == (True, "converged")
    again = await installation.relight("rollout", "undo")
    assert again.code == 3
    assert "there is nothing to undo" in again.said
    # A track with a release of its own is not in the scope of the fleet.
    assert "`relight rollout undo v0.0.74` takes it with --track" in again.said
