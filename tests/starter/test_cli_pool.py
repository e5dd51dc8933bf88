"""`relight pool`: machines that are kept ready."""

from relight.domain.pool.pool import pool_workflow_id


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
