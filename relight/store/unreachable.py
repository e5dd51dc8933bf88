"""Errors of the database itself: it does not answer, or its file cannot be used."""

from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionError

from relight.store.errors import StoreUnreachableError


def is_unreachable(error: SQLAlchemyError) -> bool:
    """Return whether the database is the cause, and not what was asked of it.

    Also if no connection became free: all others wait for the database then.
    """
    causes = OperationalError | InterfaceError | NoConnectionError
    # A plain DatabaseError is that of a file which is no database.
    return isinstance(error, causes) or type(error) is DatabaseError


def unreachable(error: DBAPIError, name: str = "") -> StoreUnreachableError:
    """Return the error that names the store, without the statement and its values.

    Args:
        error: of the database.
        name: of the store; empty if it is not known.
    """
    first = str(error.orig).strip().splitlines()
    store = f"the store {name}" if name else "the store"
    return StoreUnreachableError(f"{store} cannot be used: {first[0] if first else error.code}")
