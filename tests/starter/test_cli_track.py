"""`relight track`, and names that do not exist."""

import pytest

from tests.starter.stores import refused
from tests.store.fleets import serve


async def test_a_track_is_created_overridden_kept_and_released_from_its_override(
    relight, store, published
):
    relight = relight.where(**published)
    created = await relight("track", "set", "beta")
    overridden = await relight("track", "set", "beta", "--release", "v0.0.74")
    kept = await relight("track", "set", "beta")
    assert created.out.strip() == "track beta follows the default"
    assert overridden.out == kept.out == "track beta is set to v0.0.74\n"
    await relight("track", "set", "beta", "--follow-default")
    shown = await relight("track", "show", "beta", "--json")
    assert shown.json == {"name": "beta", "release_override": None, "routes": 0}


async def test_all_tracks_as_json_are_a_list_with_their_route_counts(relight, store):
    serve(store, "east-1")
    shown = await relight("track", "show", "--json")
    assert shown.json == [{"name": "stable", "release_override": None, "routes": 1}]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("track", "show", "nowhere"), "nowhere"),
        (("track", "show", "No_Where"), "'No_Where'"),
        (("track", "set", "No_Where"), "'No_Where'"),
        (("track", "set", "beta", "--release", "latest"), "'latest'"),
        (("track", "set", "beta", "--release", "v1.0.0", "--follow-default"), "exclude each other"),
        (("route", "list", "--track", "nowhere"), "nowhere"),
        (("route", "show", "nowhere-1"), "nowhere-1"),
        (("route", "show", "Nowhere_1"), "'Nowhere_1'"),
    ],
    ids=" ".join,
)
async def test_an_unknown_or_malformed_name_is_bad_input(relight, store, words, text):
    refused(await relight(*words), 2, text)
    assert [track.name for track in store.tracks.list()] == ["stable"]
