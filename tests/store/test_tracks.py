"""Tracks: named, each with an optional release override."""

import pytest

from relight.domain.track import Track
from relight.store.errors import BadValueError
from tests.store.fleets import MANUAL
from tests.store.sql import execute, naming
from tests.store.test_fleet_settings import INVALID_TAGS


@pytest.mark.parametrize("value", INVALID_TAGS)
def test_an_invalid_override_is_refused(store, value):
    with pytest.raises(BadValueError, match="track stable: release_override"):
        store.tracks.set("stable", value, MANUAL)
    assert store.tracks.get("stable") == Track(name="stable")


def test_a_track_is_created_and_its_override_changed(store):
    assert store.tracks.get("beta") is None
    store.tracks.set("beta", "v0.0.75", MANUAL)
    store.tracks.set("beta", None, MANUAL)
    assert store.tracks.get("beta") == Track(name="beta", release_override=None)
    assert [track.name for track in store.tracks.list()] == ["beta", "pinned", "stable"]
    created, changed = store.events.list(kind="track-set")[-2:]
    assert (created.detail["created"], created.release_tag) == (True, "v0.0.75")
    assert (changed.detail["created"], changed.detail["previous"]) == (False, "v0.0.75")


def test_an_invalid_name_is_refused(store):
    with pytest.raises(BadValueError, match="track Not A Name"):
        store.tracks.set("Not A Name", None, MANUAL)


def test_an_invalid_track_is_named_and_can_be_replaced(store, store_url):
    execute(store_url, "UPDATE tracks SET release_override = 'newest' WHERE name = 'pinned'")
    named = "track pinned: release_override is 'newest'"
    with pytest.raises(BadValueError, match=named):
        store.tracks.get("pinned")
    with naming(named):
        assert [track.name for track in store.tracks.list()] == ["stable"]
    store.tracks.set("pinned", None, MANUAL)
    assert store.tracks.get("pinned") == Track(name="pinned")
