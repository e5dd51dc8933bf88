"""The store's address, read into what SQLAlchemy needs. Raises `BadStoreUrlError`."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from fleet.errors import BadStoreUrlError

FORMS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def parse(url: str) -> URL:
    """Return the address of a SQLite file or of a PostgreSQL database.

    Raises:
        BadStoreUrlError: it is of another form, or the file's folder does not exist.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password: it is not repeated.
        raise BadStoreUrlError(f"the store's address is not of the form {FORMS}") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return _file(parsed)
        case "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise BadStoreUrlError(f"the store is not kept in {other}: use {FORMS}")


def _file(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        raise BadStoreUrlError(f"the store needs a file, which several processes open: use {FORMS}")
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise BadStoreUrlError(f"the store's folder {folder} does not exist")
    return url
