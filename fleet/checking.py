"""Values are checked on their way in and out: an operator may have changed one by SQL."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from fleet.errors import BadValueError


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Turn a value that is not of its shape into an error that says whose it is.

    Raises:
        BadValueError: the body met such a value.
    """
    try:
        yield
    except ValidationError as error:
        raise BadValueError(f"{what}: {_problems(error)}") from error


def _problems(error: ValidationError) -> str:
    return "; ".join(
        " ".join(
            (
                ".".join(str(part) for part in problem["loc"]) or "value",
                f"is {problem['input']!r}:",
                problem["msg"],
            )
        )
        for problem in error.errors(include_url=False, include_context=False)
    )
