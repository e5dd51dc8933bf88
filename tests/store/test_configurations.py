"""Configurations: recorded once, read as they were, pruned when no release names them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.configuration import Configuration, ConfigurationFile
from relight.store.errors import BadValueError
from tests.store.fleets import MANUAL, proving, run_on, serve
from tests.store.sql import execute

FIRST, SECOND = (
    Configuration(
        files=(ConfigurationFile(path="/etc/a", template="{{ values.a }}"),),
        values={"a": number, "b": 1.5, "c": "é'\"", "d": True},
    )
    for number in (1, 2)
)


def test_a_configuration_is_recorded_once(store):
    assert not store.configurations.exists(FIRST.revision)
    assert store.configurations.add(FIRST, MANUAL)
    assert not store.configurations.add(FIRST, MANUAL)
    assert store.configurations.add(SECOND, MANUAL)
    record = store.configurations.get(FIRST.revision)
    assert (record.configuration, record.revision) == (FIRST, FIRST.revision)
    assert (record.requested_by, record.reason) == (
        MANUAL.origin.requested_by,
        MANUAL.origin.reason,
    )
    assert [each.revision for each in store.configurations.list()] == [
        FIRST.revision,
        SECOND.revision,
    ]
    assert store.configurations.exists(FIRST.revision)
    events = store.events.list(kind="configuration-applied")
    assert [each.detail["revision"] for each in events] == [FIRST.revision, SECOND.revision]
    assert "values.a" not in json.dumps([each.detail for each in events])


def test_one_that_was_changed_by_hand_is_not_used(store, store_url):
    store.configurations.add(FIRST, MANUAL)
    content = json.dumps(SECOND.model_dump(mode="json")).replace("'", "''")
    execute(store_url, f"UPDATE configurations SET content = '{content}'")
    with pytest.raises(BadValueError, match="another revision"):
        store.configurations.get(FIRST.revision)
    assert store.configurations.list() == []


def test_those_that_no_release_names_are_pruned(store):
    store.configurations.add(FIRST, MANUAL)
    store.configurations.add(SECOND, MANUAL)
    serve(store)
    tag = f"v0.0.73@{SECOND.revision}"
    store.routes.record_proof(proving("r-1", tag), run_on("r-1").activity())
    before = datetime.now(UTC)
    assert store.retention.prune(before - timedelta(days=1), MANUAL).configurations == 0
    assert store.retention.preview(before).configurations == 1
    assert store.retention.prune(before, MANUAL).configurations == 1
    assert [each.revision for each in store.configurations.list()] == [SECOND.revision]
