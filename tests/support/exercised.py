"""Which calls of which driver were made against what. `--exercised FILE` adds that to a file.

`python -m devkit.exercised >docs/providers.md` makes the page of it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from devkit.exercised import CALLS, IMAGE_CALLS, Against, Exercised
from relight.providers.driver import ProviderDriver

_KNOWN = frozenset((*CALLS, *IMAGE_CALLS))

_noted: set[tuple[str, str, Against]] = set()


def note(driver: str, call: str, against: Against) -> None:
    """Note that a call of a driver was made, and did what it should."""
    assert call in _KNOWN
    _noted.add((driver, call, against))


class _Noting:
    """Notes each call that returns."""

    def __init__(self, driver: ProviderDriver, against: Against) -> None:
        self._driver, self._against = driver, against

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        return self._noting(name, found) if name in _KNOWN else found

    def _noting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def noted(*args: Any, **options: Any) -> Any:
            result = await call(*args, **options)
            note(self._driver.name, name, self._against)
            return result

        return noted


def noting(driver: ProviderDriver, against: Against) -> ProviderDriver:
    """Return a driver whose calls are noted."""
    return cast("ProviderDriver", _Noting(driver, against))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exercised", metavar="FILE", help="add what drivers were tried against")


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--exercised")
    if file is None:
        return
    path = Path(file)
    known = Exercised.model_validate_json(path.read_text()) if path.exists() else Exercised()
    for driver, call, against in _noted:
        known = known.with_one(driver, call, against)
    path.write_text(json.dumps(known.model_dump(mode="json"), indent=1, sort_keys=True) + "\n")
