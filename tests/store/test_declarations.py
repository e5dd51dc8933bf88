"""When each scope's release was declared, as far as the event log knows."""

from tests.store.fleets import (
    MANUAL,
    closing_rollout,
    opening_rollout,
    rollout_run,
)
from tests.store.sql import execute


def last(store, kind: str):
    return store.events.list(kind=kind)[-1].at


def test_each_scope_has_the_time_of_its_last_declaration(store):
    store.fleet_settings.set("default_release_tag", "v0.0.72", MANUAL)
    store.fleet_settings.set("default_release_tag", "v0.0.73", MANUAL)
    assert store.declarations.times() == {
        "fleet": last(store, "setting-set"),
        "track:pinned": last(store, "track-set"),
    }
    store.tracks.set("stable", "v0.0.74", MANUAL)
    assert store.declarations.times()["track:stable"] == last(store, "track-set")


def test_a_converged_rollout_declares_its_release(store):
    run = rollout_run()
    store.rollouts.open(opening_rollout(), run.activity())
    store.rollouts.close(closing_rollout(), run.activity())
    assert store.declarations.times()["fleet"] == last(store, "setting-set")


def test_a_scope_without_release_or_changed_by_sql_has_no_time(store, store_url):
    store.fleet_settings.set("default_release_tag", "v0.0.73", MANUAL)
    execute(store_url, "UPDATE tracks SET release_override = 'v0.0.71' WHERE name = 'pinned'")
    assert set(store.declarations.times()) == {"fleet"}
    store.fleet_settings.unset("default_release_tag", MANUAL)
    assert store.declarations.times() == {}
