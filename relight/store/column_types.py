"""Column types that take whatever a host or a person wrote.

PostgreSQL stores no NUL character and neither database stores half of a surrogate pair, but a
host's standard error can hold the one and a command line the other. A fault that cannot be
written down is worse than one with a replaced character, so both become U+FFFD on the way in.
"""

import re
from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Integer, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """Return the text, or the JSON-ready value, without characters that cannot be stored."""
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case dict():
            return {storable(key): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value


class AnyText(TypeDecorator[str]):
    """Text of any length."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Replace what cannot be stored."""
        return None if value is None else str(storable(value))


class AnyJson(TypeDecorator[dict[str, Any]]):
    """A JSON object; PostgreSQL can search in it."""

    impl = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Replace what cannot be stored."""
        return storable(value)


NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""A number that counts up: only as INTEGER does SQLite number the rows itself."""
