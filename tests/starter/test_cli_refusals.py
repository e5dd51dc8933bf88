"""Refused commands: the error names the cause, and nothing is changed or started."""

import socket

import pytest

from tests.starter.installation import operated_installation, provision


@pytest.fixture(scope="module")
async def shared(temporal, temporal_client, tmp_path_factory):
    """One installation for all tests here, which do not change it."""
    folder = tmp_path_factory.mktemp("shared")
    async with operated_installation(temporal_client, temporal.address, folder) as installation:
        yield installation


@pytest.fixture(scope="module")
async def routes(shared):
    return await shared.provision(3)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (("start", "v9.9.9"), ["v9.9.9"]),
        (("start", "v0.0.79"), ["v0.0.79", "amd64"]),
        (("start", "0.0.74-"), ["'0.0.74-'", "as in v0.0.74"]),
        (("start", "v0.0.74", "--track", "nowhere"), ["nowhere"]),
        (("start", "v0.0.74", "--track", "No_Where"), ["'No_Where'"]),
        (("start", "v0.0.74", "--wave", "half"), ["'half'", "2 or 25%"]),
        (("start", "v0.0.74", "--wave", "101%"), ["'101%'", "1% to 100%"]),
        (("start", "v0.0.74", "--wave", "2", "--wave", "2"), ["wave 2 (2)", "--wave 25%"]),
        (("start", "v0.0.74", "--wave", "50%", "--wave", "10%"), ["not larger than wave 1 (50%)"]),
        (("start", "v0.0.74", "--wave", "3", "--wave", "25%"), ["of 3 routes", "1 and 3"]),
        (("start", "v0.0.74", "--wave", "50%", "--wave", "2"), ["of 3 routes", "2 and 2"]),
        (("undo", "v0.0.73", "--wave", "2", "--wave", "1"), ["wave 2 (1)"]),
        (("undo", "v0.0.73", "--wave", "3", "--wave", "10%"), ["of 3 routes", "1 and 3"]),
        (("plan", "v0.0.74", "--wave", "2", "--wave", "1"), ["wave 2 (1)"]),
        (("simulate", "v0.0.74", "--wave", "2", "--wave", "1"), ["wave 2 (1)"]),
        (("simulate", "v0.0.74", "--wave", "3", "--wave", "25%"), ["of 3 routes", "1 and 3"]),
        (("start", "v0.0.74", "--max-concurrent", "0"), ["max-concurrent"]),
        (("status", "v9.9.8"), ["v9.9.8", "fleet"]),
        (("watch", "v9.9.8"), ["v9.9.8", "fleet"]),
        (("pause", "v9.9.9", "--track", "stable"), ["v9.9.9", "track:stable"]),
        (("status", "--track", "nowhere"), ["track:nowhere"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.usefixtures("routes")
async def test_an_invalid_rollout_is_bad_input(shared, words, texts):
    shared.harness.releases.add("v0.0.79", "arm64")
    await shared.refuses(2, ("rollout", *words), *texts)
    await shared.nothing_runs()


async def test_a_scope_without_routes_is_refused(shared):
    harness = shared.harness
    harness.store.tracks.set("empty", None, harness.operation())
    await shared.refuses(3, ("rollout", "start", "v0.0.74", "--track", "empty"), "empty")
    await shared.nothing_runs()


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (provision("r-x", track="nowhere"), ["nowhere"]),
        (provision("r-x", region="fake-north"), ["fake-north"]),
        (provision("r-x", provider="cloudy"), ["cloudy", "fake"]),
        (provision("R_X"), ["'R_X'", "lower-case"]),
        (provision("r-x", "r-x"), ["r-x", "more than once"]),
        (provision(region="Nürnberg 1"), ["'Nürnberg 1'"]),
        ((*provision("r-x"), "--count", "3"), ["not both"]),
        (("route", "wait", "r-nobody"), ["r-nobody"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_an_invalid_route_is_bad_input(shared, words, texts):
    await shared.refuses(2, words, *texts)
    await shared.nothing_runs()


async def test_without_a_default_release_provisioning_is_refused(shared):
    harness = shared.harness
    harness.store.fleet_settings.unset("default_release_tag", harness.operation())
    try:
        words = provision(harness.new_route_id())
        await shared.refuses(3, words, "stable", "default_release_tag")
    finally:
        harness.store.fleet_settings.set("default_release_tag", "v0.0.73", harness.operation())


async def test_every_occupied_route_is_named(shared, routes):
    first, second, _ = routes
    await shared.refuses(3, provision(first, second), f"{first}-g1", f"{second}-g1")
    await shared.nothing_runs()


@pytest.mark.parametrize("words", [("rollout", "start", "v0.0.74"), provision("r-x")])
async def test_without_a_worker_nothing_is_started_and_the_remedies_are_named(shared, words):
    texts = ("nobody-listens", "relight worker", "relight up")
    await shared.refuses(3, words, *texts, RELIGHT_TASK_QUEUE="nobody-listens")
    await shared.nothing_runs()


@pytest.mark.parametrize("words", [("rollout", "status", "v0.0.74"), provision("r-x")])
async def test_a_temporal_server_that_does_not_answer_is_named(shared, words):
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    await shared.refuses(3, words, free, "relight up", TEMPORAL_ADDRESS=free)


async def test_an_invalid_environment_variable_is_named(shared):
    words = ("rollout", "status")
    await shared.refuses(2, words, "RELIGHT_STABILITY_WINDOW", RELIGHT_STABILITY_WINDOW="soon")
