"""The service's health probe, as an operator sets it."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from relight.setting_groups import ServiceSettings, SettingsError
from relight.settings import load_settings


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    def with_these(**variables: str) -> ServiceSettings:
        for name, value in variables.items():
            monkeypatch.setenv(f"RELIGHT_SERVICE__PROBE{name}", value)
        return load_settings().service

    return with_these


def test_it_is_http_unless_it_is_said(load) -> None:
    service = load()
    assert (service.probe, service.probe_port, service.probe_path) == ("http", 8899, "/healthz")
    assert (service.probe_timeout, service.probe_patience) == (
        timedelta(seconds=3),
        timedelta(seconds=5),
    )


def test_a_port_alone_may_do(load) -> None:
    service = load(**{"": "tcp", "_PORT": "443", "_TIMEOUT": "PT1.5S", "_PATIENCE": "PT0S"})
    assert (service.probe, service.probe_port) == ("tcp", 443)
    assert (service.probe_timeout, service.probe_patience) == (timedelta(seconds=1.5), timedelta(0))


def test_a_command_is_a_list_of_words(load) -> None:
    service = load(**{"": "command", "_COMMAND": '["/usr/local/bin/check", "a b"]'})
    assert service.probe_command == ("/usr/local/bin/check", "a b")


def test_a_command_that_is_not_said_is_asked_for_by_its_variable(load) -> None:
    with pytest.raises(SettingsError, match="RELIGHT_SERVICE__PROBE_COMMAND is not set"):
        load(**{"": "command"})


@pytest.mark.parametrize("words", ["/usr/local/bin/check", '"check"', "[1]", "{}"])
def test_a_command_of_another_shape_is_refused_by_name(load, words: str) -> None:
    with pytest.raises(ValidationError, match=r"service\.probe_command"):
        load(**{"": "command", "_COMMAND": words})


def test_a_probe_takes_a_bounded_part_of_a_proof(load) -> None:
    with pytest.raises(SettingsError, match=r"PROBE_TIMEOUT.*PROBE_PATIENCE.*15 s together"):
        load(_TIMEOUT="PT11S")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "icmp"),
        ("_PORT", "0"),
        ("_PORT", "65536"),
        ("_PATH", "healthz"),
        ("_TIMEOUT", "PT0S"),
        ("_PATIENCE", "-PT1S"),
    ],
)
def test_what_cannot_be_is_refused(load, name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=rf"service\.probe{name.lower()}"):
        load(**{name: value})
