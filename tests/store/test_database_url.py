"""The store's URL: which forms are accepted, and how others are refused."""

from pathlib import Path

import pytest

from relight.setting_groups import SettingsError
from relight.settings import Settings
from relight.store.database import parse_url, with_password
from relight.store.errors import BadStoreUrlError
from relight.store.store import Store
from relight.store_address import store_address


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


@pytest.mark.parametrize("password", ["secret", "p@ss/w:rd?#%é "])
def test_a_password_is_put_into_the_url(password):
    url = with_password("postgresql://relight@db.test/fleet?sslmode=verify-full", password)
    assert parse_url(url).password == password
    assert parse_url(url).query["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.test/fleet",
        "postgresql://relight:other@db.test/fleet",
        "sqlite:////srv/fleet.db",
    ],
)
def test_a_url_that_takes_no_password_is_refused_without_showing_one(url):
    with pytest.raises(BadStoreUrlError, match="a user and no password") as refusal:
        with_password(url, "secret")
    assert not {"secret", "other"} & set(str(refusal.value).replace(":", " ").split())


@pytest.fixture
def set_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that names the password of the store's user."""
    file = tmp_path / "password"
    monkeypatch.setenv("RELIGHT_STORE_URL", "postgresql://relight@db.test/fleet")
    monkeypatch.setenv("RELIGHT_STORE_PASSWORD_FILE", str(file))
    return file


def test_the_password_is_read_from_a_file_without_its_line_feed(set_password: Path):
    set_password.write_text("secret\n")
    assert parse_url(store_address(Settings())).password == "secret"


@pytest.mark.parametrize(("content", "reason"), [(None, "no such file"), ("\n", "is empty")])
def test_a_file_without_a_password_is_named(set_password: Path, content: str | None, reason: str):
    if content is not None:
        set_password.write_text(content)
    with pytest.raises(SettingsError, match=reason) as refusal:
        store_address(Settings())
    assert str(set_password) in str(refusal.value)


def test_the_store_of_the_home_folder_takes_no_password(
    set_password: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("RELIGHT_STORE_URL")
    assert store_address(Settings()).startswith("sqlite:///")
