"""What commands refuse that would start an operation: by name, and with nothing changed."""

import socket

import pytest

from tests.starter.operator import operated_installation, provision


@pytest.fixture(scope="module")
async def settled(temporal, temporal_client, tmp_path_factory):
    """One installation for all of them, since nothing of this changes it."""
    folder = tmp_path_factory.mktemp("settled")
    async with operated_installation(temporal_client, temporal.address, folder) as made:
        yield made


@pytest.fixture(scope="module")
async def routes(settled):
    return await settled.provision(3)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("start", "v9.9.9"), ["v9.9.9"]),
        (("start", "v0.0.79"), ["v0.0.79", "amd64"]),
        (("start", "0.0.74"), ["'0.0.74'", "as in v0.0.74"]),
        (("start", "v0.0.74", "--track", "nowhere"), ["nowhere"]),
        (("start", "v0.0.74", "--track", "No_Where"), ["'No_Where'"]),
        (("start", "v0.0.74", "--wave", "half"), ["'half'", "2 or 25%"]),
        (("start", "v0.0.74", "--wave", "101%"), ["'101%'", "1% to 100%"]),
        (("start", "v0.0.74", "--max-concurrent", "0"), ["max-concurrent"]),
        (("status", "v9.9.8"), ["v9.9.8", "fleet"]),
        (("watch", "v9.9.8"), ["v9.9.8", "fleet"]),
        (("pause", "v9.9.9", "--track", "stable"), ["v9.9.9", "track:stable"]),
        (("status", "--track", "nowhere"), ["track:nowhere"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_a_rollout_that_cannot_be_meant_is_bad_input_by_name(settled, routes, words, named):
    settled.harness.releases.add("v0.0.79", "arm64")
    await settled.refuses(2, ("rollout", *words), *named)
    await settled.nothing_runs()


async def test_a_scope_without_routes_is_refused_by_name(settled):
    harness = settled.harness
    harness.store.tracks.set("empty", None, harness.operation())
    await settled.refuses(3, ("rollout", "start", "v0.0.74", "--track", "empty"), "empty")
    await settled.nothing_runs()


@pytest.mark.parametrize(
    ("words", "named"),
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
async def test_a_route_that_cannot_be_meant_is_bad_input_by_name(settled, words, named):
    await settled.refuses(2, words, *named)
    await settled.nothing_runs()


async def test_without_a_default_release_provisioning_is_refused(settled):
    harness = settled.harness
    harness.store.settings.unset("default_release_tag", harness.operation())
    try:
        words = provision(harness.new_route_id())
        await settled.refuses(3, words, "stable", "default_release_tag")
    finally:
        harness.store.settings.set("default_release_tag", "v0.0.73", harness.operation())


async def test_routes_that_are_occupied_are_refused_each_by_name(settled, routes):
    first, second, _ = routes
    await settled.refuses(3, provision(first, second), f"{first}-g1", f"{second}-g1")
    await settled.nothing_runs()


@pytest.mark.parametrize("words", [("rollout", "start", "v0.0.74"), provision("r-x")])
async def test_without_a_worker_nothing_is_started_and_it_says_what_to_type(settled, words):
    named = ("nobody-listens", "relight worker", "relight up")
    await settled.refuses(3, words, *named, RELIGHT_TASK_QUEUE="nobody-listens")
    await settled.nothing_runs()


@pytest.mark.parametrize("words", [("rollout", "status", "v0.0.74"), provision("r-x")])
async def test_a_temporal_that_does_not_answer_is_refused_by_its_address(settled, words):
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    await settled.refuses(3, words, free, "relight up", TEMPORAL_ADDRESS=free)


async def test_a_setting_of_the_environment_that_cannot_be_so_is_named(settled):
    words = ("rollout", "status")
    await settled.refuses(2, words, "stability_window", RELIGHT_STABILITY_WINDOW="soon")
