"""The checks that a rollout can name, as an operator sets them."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from relight.gate_check_settings import CommandCheckSettings, PrometheusCheckSettings
from relight.setting_groups import SettingsError
from relight.settings import Settings, load_settings

ERRORS = {"kind": "prometheus", "url": "http://prom:9090", "query": "up", "max_value": 0.01}
SMOKE = {"kind": "command", "command": ["/usr/local/bin/smoke", "a b"], "timeout": "PT2M"}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def with_this(value: object) -> Settings:
        monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv("RELIGHT_GATE_CHECKS", text)
        return load_settings()

    return with_this


@pytest.mark.parametrize("value", ["", "{}"])
def test_there_are_none_unless_they_are_said(load, value: str) -> None:
    assert load(value).gate_checks == {}


def test_they_are_a_json_object_by_name(load) -> None:
    checks = load({"errors": ERRORS, "smoke": SMOKE}).gate_checks
    errors, smoke = checks["errors"], checks["smoke"]
    assert isinstance(errors, PrometheusCheckSettings)
    assert (str(errors.url), errors.query, errors.max_value, errors.min_value) == (
        "http://prom:9090/",
        "up",
        0.01,
        None,
    )
    assert smoke == CommandCheckSettings(
        kind="command", command=("/usr/local/bin/smoke", "a b"), timeout=timedelta(minutes=2)
    )


def test_they_stand_in_the_home_folders_file_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))
    (tmp_path / "env").write_text(f"RELIGHT_GATE_CHECKS='{json.dumps({'smoke': SMOKE})}'\n")
    assert set(load_settings().gate_checks) == {"smoke"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("errors", "is no JSON object"),
        ("[]", "valid dictionary"),
        ({"Errors": ERRORS}, "Errors.*should match pattern"),
        ({"errors": {"kind": "grafana"}}, "errors: .*'grafana'"),
        ({"errors": {"url": "http://prom"}}, "errors: .*kind"),
        ({"errors": {**ERRORS, "max_value": None}}, "errors.*neither max_value nor min_value"),
        ({"errors": {**ERRORS, "min_value": 1}}, "min_value is more than max_value"),
        ({"errors": {**ERRORS, "max_value": "few"}}, r"errors\.prometheus\.max_value: .*number"),
        ({"errors": {**ERRORS, "max_value": "nan"}}, r"errors\.prometheus\.max_value: .*finite"),
        ({"errors": {**ERRORS, "query": ""}}, r"errors\.prometheus\.query"),
        ({"errors": {**ERRORS, "url": "prom:9090"}}, r"errors\.prometheus\.url"),
        ({"errors": {**ERRORS, "at_mots": 1}}, r"errors\.prometheus\.at_mots: Extra"),
        ({"smoke": {**SMOKE, "command": []}}, r"smoke\.command\.command"),
        ({"smoke": {**SMOKE, "command": "smoke"}}, r"smoke\.command\.command"),
        ({"smoke": {**SMOKE, "timeout": "PT1H"}}, r"smoke\.command\.timeout: .*10 minutes|600"),
        ({"smoke": {**SMOKE, "timeout": "PT0S"}}, r"smoke\.command\.timeout"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(load, value: object, words: str) -> None:
    with pytest.raises(SettingsError, match=f"^RELIGHT_GATE_CHECKS.*({words})"):
        load(value)


def test_a_refusal_gives_no_password_away(load) -> None:
    url = "http://user:squirrel@prom:9090"
    with pytest.raises(SettingsError) as caught:
        load({"errors": {**ERRORS, "url": url, "max_value": None}})
    assert "squirrel" not in str(caught.value)
