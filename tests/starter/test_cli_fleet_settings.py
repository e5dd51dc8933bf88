"""`relight settings`, and the store that it uses."""

import pytest

from tests.starter.in_process import InProcess
from tests.starter.stores import refused


async def test_a_setting_is_set_and_recorded_with_its_requester_and_reason(
    relight, store, published
):
    relight = relight.where(**published)
    done = await relight("settings", "set", "default_release_tag", "v0.0.74", "-r", "tested")
    assert (done.code, done.out.strip()) == (0, "default_release_tag is v0.0.74")
    assert (await relight("settings", "get", "default_release_tag")).out == "v0.0.74\n"
    event = store.events.list(kind="setting-set")[-1]
    assert "@" in event.requested_by
    assert event.reason == "tested"


async def test_settings_as_json_are_an_object(relight, store):
    everything = await relight("settings", "get", "--json")
    one = await relight("settings", "get", "default_release_tag", "--json")
    assert everything.json == one.json == {"default_release_tag": "v0.0.73"}


async def test_a_setting_that_is_not_set_is_refused(relight):
    assert (await relight("init")).code == 0
    refused(await relight("settings", "get", "default_release_tag"), 3, "default_release_tag")
    assert (await relight("settings", "get", "--json")).json == {}
    assert "provisioning is refused" in (await relight("settings", "get")).out


@pytest.mark.parametrize("words", [("get", "hue"), ("set", "hue", "red"), ("unset", "hue")])
async def test_an_unknown_setting_is_bad_input_and_the_known_ones_are_named(relight, store, words):
    ended = await relight("settings", *words)
    refused(ended, 2, "hue", "default_release_tag")
    assert store.fleet_settings.all() == {"default_release_tag": "v0.0.73"}


async def test_a_malformed_value_is_bad_input_with_a_valid_example(relight, store):
    ended = await relight("settings", "set", "default_release_tag", "0.0.74-")
    refused(ended, 2, "'0.0.74-'", "as in v0.0.74")
    assert store.fleet_settings.get("default_release_tag") == "v0.0.73"


async def test_unset_reports_whether_the_setting_was_set(relight, store):
    first = await relight("settings", "unset", "default_release_tag")
    second = await relight("settings", "unset", "default_release_tag")
    assert first.out.strip() == "default_release_tag is unset"
    assert second.out.strip() == "default_release_tag was not set"
    assert (first.code, second.code) == (0, 0)


async def test_the_file_env_of_the_home_folder_sets_the_store(relight, store, tmp_path):
    elsewhere = InProcess(tmp_path / "elsewhere")
    elsewhere.home.mkdir()
    url = f"sqlite:///{relight.home / 'fleet.db'}"
    (elsewhere.home / "env").write_text(f"RELIGHT_STORE_URL={url}\n")
    assert (await elsewhere("settings", "get", "default_release_tag")).out == "v0.0.73\n"


async def test_a_store_url_of_an_unknown_database_is_refused(relight):
    wrong = relight.where(RELIGHT_STORE_URL="mysql://root:hunter2@db.example/fleet")
    ended = await wrong("fleet", "status")
    refused(ended, 3, "mysql")
    assert "hunter2" not in ended.err
