"""Settings and tracks: what they declare is a release tag, and nothing else."""

import pytest

from relight.domain.event import Track
from relight.store.errors import BadValueError, UnknownSettingError
from tests.store.fleets import HAND, rollout_run
from tests.store.sql import execute, insert

NAME = "default_release_tag"
NO_TAGS = ["garbage", "", "0.0.74", "v0.0", "v0.0.74 ", "v0.0.74\n", "V0.0.74"]


def test_a_setting_is_set_changed_and_unset_each_with_its_event(store):
    assert (store.settings.get(NAME), store.settings.all()) == (None, {})
    store.settings.set(NAME, "v0.0.73", HAND)
    store.settings.set(NAME, "v0.0.74-rc.1", HAND)
    assert store.settings.all() == {NAME: store.settings.get(NAME)} == {NAME: "v0.0.74-rc.1"}
    assert store.settings.unset(NAME, HAND) is True
    assert store.settings.unset(NAME, HAND) is False
    assert store.settings.get(NAME) is None
    events = [*store.events.list(kind="setting-set"), *store.events.list(kind="setting-unset")]
    assert [event.detail["previous"] for event in events] == [None, "v0.0.73", "v0.0.74-rc.1"]
    assert [event.release_tag for event in events] == ["v0.0.73", "v0.0.74-rc.1", None]


def test_an_activity_that_unsets_twice_is_told_the_same_twice(store):
    store.settings.set(NAME, "v0.0.73", HAND)
    activity = rollout_run().activity()
    assert store.settings.unset(NAME, activity) is True
    store.settings.set(NAME, "v0.0.74", HAND)
    assert store.settings.unset(NAME, activity) is True
    assert store.settings.get(NAME) == "v0.0.74"


@pytest.mark.parametrize("value", NO_TAGS)
def test_what_is_no_release_tag_is_not_set(store, value):
    store.settings.set(NAME, "v0.0.73", HAND)
    with pytest.raises(BadValueError, match=f"setting {NAME}"):
        store.settings.set(NAME, value, HAND)
    with pytest.raises(BadValueError, match="track stable: release_override"):
        store.tracks.set("stable", value, HAND)
    assert store.settings.get(NAME) == "v0.0.73"
    assert store.tracks.get("stable") == Track(name="stable")


def test_a_setting_that_was_spoilt_by_hand_is_named_and_can_be_mended(store, store_url):
    insert(store_url, "settings", name=NAME, value="newest")
    for read in (lambda: store.settings.get(NAME), store.settings.all):
        with pytest.raises(BadValueError, match=f"setting {NAME}.*'newest'"):
            read()
    store.settings.set(NAME, "v0.0.74", HAND)
    assert store.settings.get(NAME) == "v0.0.74"


def test_an_unknown_setting_is_refused_by_name(store, store_url):
    for use in (
        lambda: store.settings.get("colour"),
        lambda: store.settings.set("colour", "v0.0.74", HAND),
        lambda: store.settings.unset("colour", HAND),
    ):
        with pytest.raises(UnknownSettingError, match=r"no setting colour.*default_release_tag"):
            use()
    insert(store_url, "settings", name="colour", value="blue")
    with pytest.raises(UnknownSettingError, match="no setting colour"):
        store.settings.all()


def test_a_track_is_made_and_given_another_override(store):
    assert store.tracks.get("beta") is None
    store.tracks.set("beta", "v0.0.75", HAND)
    store.tracks.set("beta", None, HAND)
    assert store.tracks.get("beta") == Track(name="beta", release_override=None)
    assert [track.name for track in store.tracks.list()] == ["beta", "pinned", "stable"]
    made, changed = store.events.list(kind="track-set")[-2:]
    assert (made.detail["created"], made.release_tag) == (True, "v0.0.75")
    assert (changed.detail["created"], changed.detail["previous"]) == (False, "v0.0.75")


def test_a_track_of_no_name_is_refused(store):
    with pytest.raises(BadValueError, match="track Not A Name"):
        store.tracks.set("Not A Name", None, HAND)


def test_a_track_that_was_spoilt_by_hand_is_named_and_can_be_mended(store, store_url):
    execute(store_url, "UPDATE tracks SET release_override = 'newest' WHERE name = 'pinned'")
    for read in (lambda: store.tracks.get("pinned"), store.tracks.list):
        with pytest.raises(BadValueError, match="track pinned: release_override is 'newest'"):
            read()
    store.tracks.set("pinned", None, HAND)
    assert store.tracks.get("pinned") == Track(name="pinned")
