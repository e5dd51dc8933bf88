"""The service's units, and how they take a new release, as an operator sets them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from relight.domain.service import OnChange
from relight.service_settings import service_of
from relight.settings import load_settings


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))


def test_a_service_has_one_unit_that_is_restarted_unless_it_is_set() -> None:
    service = service_of(load_settings())
    assert (service.unit, service.more_units) == ("lantern-box.service", ())
    assert (service.executable, service.on_change, service.state_files) == ("", "restart", ())


def test_units_patterns_and_sockets_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_SERVICE__UNIT", "box@*.service")
    monkeypatch.setenv("RELIGHT_SERVICE__MORE_UNITS", '["box.socket", "box-web.service"]')
    monkeypatch.setenv("RELIGHT_SERVICE__ON_CHANGE", "reload")
    monkeypatch.setenv("RELIGHT_SERVICE__STATE_FILES", '["/opt/box/state/*"]')
    service = service_of(load_settings())
    assert (service.unit, service.more_units) == (
        "box@*.service",
        ("box.socket", "box-web.service"),
    )
    assert (service.on_change, service.state_files) == (OnChange.RELOAD, ("/opt/box/state/*",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UNIT", "box.socket"),
        ("UNIT", "a.service b.service"),
        ("MORE_UNITS", "box.socket"),
        ("MORE_UNITS", '["box.timer"]'),
        ("MORE_UNITS", '["-x.service"]'),
        ("ON_CHANGE", "reload-or-restart"),
        ("EXECUTABLE", "usr/bin/box"),
        ("STATE_FILES", '["opt/*"]'),
    ],
)
def test_what_is_no_unit_or_no_way_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"RELIGHT_SERVICE__{name}", value)
    with pytest.raises(ValidationError, match=f"service.{name.lower()}"):
        load_settings()
