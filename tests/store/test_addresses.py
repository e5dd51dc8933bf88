"""The store's address: what it can be, and what is said of the rest."""

import pytest

from relight.store.database import parse_url
from relight.store.errors import BadStoreUrlError
from relight.store.store import Store


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_postgresql_is_spoken_to_through_psycopg(scheme):
    url = parse_url(f"{scheme}://relight:secret@db.test:5433/fleet?sslmode=verify-full")
    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.database, url.password) == ("db.test", 5433, "fleet", "secret")
    assert url.query["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    "url",
    ["", "fleet.db", "postgresql://relight:secret@db.test:port/fleet"],
)
def test_what_is_no_address_is_refused_without_repeating_it(url):
    with pytest.raises(BadStoreUrlError, match="not of the form sqlite:///FILE") as refused:
        Store.open(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["mysql://root:secret@db.test/fleet", "postgresql+asyncpg://db/f"])
def test_another_database_is_refused(url):
    with pytest.raises(BadStoreUrlError, match="not kept in") as refused:
        Store.open(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_that_no_second_process_could_open_is_refused(url):
    with pytest.raises(BadStoreUrlError, match="needs a file"):
        Store.open(url)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadStoreUrlError, match="nowhere does not exist"):
        Store.open(f"sqlite:///{tmp_path}/nowhere/fleet.db")
