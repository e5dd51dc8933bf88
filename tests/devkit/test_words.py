"""The check for retired words."""

import pytest

from devkit.words import findings


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("class TreatmentDecision:", "remediation"),
        ("self._board.stand()", "state"),
        ("RELIGHT_WITNESSES=[]", "connectivity check"),
        ("steering = Steering()", "controls"),
        ("the packaged daemon", "service"),
        ("route_care = table", "remediation"),
        ("a pass of reconciliation", "reconcile run"),
        ("one that is told of", "report"),
        ("audit_routes", "verify"),
        ("many machines keep us out", "lock out"),
    ],
)
def test_a_retired_word_is_found_in_prose_and_in_identifiers(text: str, instead: str) -> None:
    assert {found.instead for found in findings(text)} == {instead}


@pytest.mark.parametrize(
    "text",
    [
        "systemctl daemon-reload",
        "Thread(target=run, daemon=True)",
        "except KeyboardInterrupt:",
        "take care that it is closed",
        "the route passes through",
        "class HealthCheck:",
    ],
)
def test_other_words_are_left_alone(text: str) -> None:
    assert list(findings(text)) == []


def test_a_finding_names_file_line_and_the_word_to_use() -> None:
    (found,) = findings("first line\nan audit", "docs/x.md")
    assert str(found) == "docs/x.md:2: 'audit': say verify"
