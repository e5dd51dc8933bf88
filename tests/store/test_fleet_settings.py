"""Settings of the fleet: known names, valid values."""

import pytest

from relight.store.errors import BadValueError, UnknownSettingError
from tests.store.fleets import MANUAL, rollout_run
from tests.store.sql import insert, naming

NAME = "default_release_tag"
INVALID_TAGS = ["garbage", "", "v0.0.", "0.0.74-", "v0.0.74 ", "v0.0.74\n", "V0.0.74"]


def test_setting_changing_and_unsetting_each_write_an_event(store):
    assert (store.fleet_settings.get(NAME), store.fleet_settings.all()) == (None, {})
    store.fleet_settings.set(NAME, "v0.0.73", MANUAL)
    store.fleet_settings.set(NAME, "v0.0.74-rc.1", MANUAL)
    assert (
        store.fleet_settings.all()
        == {NAME: store.fleet_settings.get(NAME)}
        == {NAME: "v0.0.74-rc.1"}
    )
    assert store.fleet_settings.unset(NAME, MANUAL) is True
    assert store.fleet_settings.unset(NAME, MANUAL) is False
    assert store.fleet_settings.get(NAME) is None
    events = [*store.events.list(kind="setting-set"), *store.events.list(kind="setting-unset")]
    assert [event.detail["previous"] for event in events] == [None, "v0.0.73", "v0.0.74-rc.1"]
    assert [event.release_tag for event in events] == ["v0.0.73", "v0.0.74-rc.1", None]


def test_a_retried_unset_returns_the_same_result(store):
    store.fleet_settings.set(NAME, "v0.0.73", MANUAL)
    activity = rollout_run().activity()
    assert store.fleet_settings.unset(NAME, activity) is True
    store.fleet_settings.set(NAME, "v0.0.74", MANUAL)
    assert store.fleet_settings.unset(NAME, activity) is True
    assert store.fleet_settings.get(NAME) == "v0.0.74"


@pytest.mark.parametrize("value", INVALID_TAGS)
def test_an_invalid_release_tag_is_refused(store, value):
    store.fleet_settings.set(NAME, "v0.0.73", MANUAL)
    with pytest.raises(BadValueError, match=f"setting {NAME}"):
        store.fleet_settings.set(NAME, value, MANUAL)
    assert store.fleet_settings.get(NAME) == "v0.0.73"


def test_an_invalid_setting_is_named_and_can_be_replaced(store, store_url):
    insert(store_url, "settings", name=NAME, value="newest")
    named = f"setting {NAME}.*'newest'"
    with pytest.raises(BadValueError, match=named):
        store.fleet_settings.get(NAME)
    with naming(named):
        assert store.fleet_settings.all() == {}
    store.fleet_settings.set(NAME, "v0.0.74", MANUAL)
    assert store.fleet_settings.get(NAME) == "v0.0.74"


def test_an_unknown_setting_is_refused(store, store_url):
    for use in (
        lambda: store.fleet_settings.get("colour"),
        lambda: store.fleet_settings.set("colour", "v0.0.74", MANUAL),
        lambda: store.fleet_settings.unset("colour", MANUAL),
    ):
        with pytest.raises(UnknownSettingError, match=r"no setting colour.*default_release_tag"):
            use()
    insert(store_url, "settings", name="colour", value="blue")
    with naming("no setting colour"):
        assert store.fleet_settings.all() == {}
