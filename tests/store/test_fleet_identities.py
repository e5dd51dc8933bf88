"""The identity of a store's fleet: made once, with the tables."""

import re

import pytest

from relight.store import migrate
from relight.store.database import Database, parse_url
from relight.store.errors import BadValueError
from relight.store.store import Store, open_upgraded_store
from tests.store.sql import execute


def test_a_new_store_has_a_random_id_that_stays(empty_url, tmp_path):
    with open_upgraded_store(empty_url) as store:
        made = store.fleet_identity.get()
    with open_upgraded_store(empty_url) as store:
        assert store.fleet_identity.get() == made
    assert re.fullmatch("[0-9a-f]{16}", made.fleet_id)
    assert made.namespace_id is None
    with open_upgraded_store(f"sqlite:///{tmp_path / 'another.db'}") as another:
        assert another.fleet_identity.get().fleet_id != made.fleet_id


def test_a_store_from_before_gets_an_id(empty_url):
    database = Database(parse_url(empty_url))
    migrate.upgrade(database, "0014")
    migrate.upgrade(database)
    database.close()
    with Store.open(empty_url) as store:
        assert len(store.fleet_identity.get().fleet_id) == 16


def test_joining_records_the_namespace_and_keeps_the_id(store):
    before = store.fleet_identity.get()
    store.fleet_identity.join("namespace-1")
    store.fleet_identity.join("namespace-2")
    assert store.fleet_identity.get() == before.model_copy(update={"namespace_id": "namespace-2"})


def test_a_store_whose_id_was_deleted_by_hand_is_refused(empty_url):
    with open_upgraded_store(empty_url) as store:
        execute(empty_url, "DELETE FROM fleet")
        with pytest.raises(BadValueError, match=r"`fleet` has 0 rows.*restore it from a backup"):
            store.fleet_identity.get()


def test_the_name_of_a_store_has_no_password(tmp_path):
    url = "postgresql://ann:hunter2@db.example:5433/fleet?password=hunter2"
    with Store.open(url) as store:
        assert store.name == "postgresql://db.example:5433/fleet"
    with Store.open(f"sqlite:///{tmp_path / 'fleet.db'}") as store:
        assert store.name == str(tmp_path / "fleet.db")
