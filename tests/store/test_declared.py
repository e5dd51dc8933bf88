"""When a scope's release was declared, as far as anybody can know."""

from relight.domain.rollout.rollout import CloseRolloutInput, RolloutPhase
from tests.store.fleets import (
    HAND,
    ORIGIN,
    rollout_run,
)
from tests.store.sql import execute
from tests.store.test_rollouts import claiming


def last(store, kind: str):
    return store.events.list(kind=kind)[-1].at


def test_each_scope_has_the_time_of_its_last_declaration(store):
    store.settings.set("default_release_tag", "v0.0.72", HAND)
    store.settings.set("default_release_tag", "v0.0.73", HAND)
    assert store.declared.at() == {
        "fleet": last(store, "setting-set"),
        "track:pinned": last(store, "track-set"),
    }
    store.tracks.set("stable", "v0.0.74", HAND)
    assert store.declared.at()["track:stable"] == last(store, "track-set")


def test_a_rollout_that_converged_declares(store):
    run = rollout_run()
    store.rollouts.open(claiming(), run.activity())
    store.rollouts.close(
        CloseRolloutInput(
            release_tag="v0.0.74",
            scope="fleet",
            phase=RolloutPhase.CONVERGED,
            detail="",
            origin=ORIGIN,
            promote=True,
        ),
        run.activity(),
    )
    assert store.declared.at()["fleet"] == last(store, "setting-set")


def test_what_declares_nothing_any_more_or_was_changed_by_sql_is_not_known(store, store_url):
    store.settings.set("default_release_tag", "v0.0.73", HAND)
    execute(store_url, "UPDATE tracks SET release_override = 'v0.0.71' WHERE name = 'pinned'")
    assert set(store.declared.at()) == {"fleet"}
    store.settings.unset("default_release_tag", HAND)
    assert store.declared.at() == {}
