"""The store's URL: which forms are accepted, and how others are refused."""

import pytest

from relight.store.database import parse_url
from relight.store.errors import BadStoreUrlError
from relight.store.store import Store


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_postgresql_uses_the_psycopg_driver(scheme):
    url = parse_url(f"{scheme}://relight:secret@db.test:5433/fleet?sslmode=verify-full")
    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.database, url.password) == ("db.test", 5433, "fleet", "secret")
    assert url.query["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    "url",
    ["", "fleet.db", "postgresql://relight:secret@db.test:port/fleet"],
)
def test_a_malformed_url_is_refused_without_repeating_it(url):
    with pytest.raises(BadStoreUrlError, match="not of the form sqlite:///FILE") as refusal:
        Store.open(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("url", ["mysql://root:secret@db.test/fleet", "postgresql+asyncpg://db/f"])
def test_an_unsupported_database_is_refused(url):
    with pytest.raises(BadStoreUrlError, match="does not support") as refusal:
        Store.open(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url):
    with pytest.raises(BadStoreUrlError, match="needs a file"):
        Store.open(url)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BadStoreUrlError, match="nowhere does not exist"):
        Store.open(f"sqlite:///{tmp_path}/nowhere/fleet.db")
