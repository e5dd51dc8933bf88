"""The table of faults is closed, and the document lists all of it."""

import re
from pathlib import Path

import pytest

import activities.execution
import activities.machine.machines
import activities.rollout.checks
import relight.domain.release
import relight.domain.track
import relight.hosts.cloud_init.user_data
import relight.hosts.errors
import relight.providers.driver
import relight.releases.errors
import relight.store.errors
from relight.domain.fault.document import document
from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import BUDGETED_CLASSES, FaultClass
from relight.domain.fault.rule import Remedy, RolloutEffect
from relight.domain.fault.table import RULES, effect_in_rollout, fault

ROOT = Path(__file__).parents[3]
RAISING = (
    activities.execution,
    activities.rollout.checks,
    activities.machine.machines,
    relight.store.errors,
    relight.domain.release,
    relight.domain.track,
    relight.providers.driver,
    relight.hosts.errors,
    relight.releases.errors,
    relight.hosts.cloud_init.user_data,
)


def descendants(kind: type[DomainError]) -> set[type[DomainError]]:
    below = set(kind.__subclasses__())
    return below.union(*(descendants(each) for each in below))


def test_every_error_has_a_kind_of_the_table():
    named = {error: error.kind for error in descendants(DomainError) if "kind" in vars(error)}
    assert len(named) > 20
    assert {error for error, kind in named.items() if kind not in RULES} == set()


WRITTEN = re.compile(
    r'(?:PackageError|ServiceFailedError|fault)\(\s*"([a-z-]+)"'
    r'|kind, (?:text|summary) = "([a-z-]+)"'
)
DIAGNOSED = re.compile(r'"([a-z]+(?:-[a-z]+)+)"\),?$', re.MULTILINE)


def test_every_kind_in_the_code_is_in_the_table():
    written = set(DIAGNOSED.findall((ROOT / "relight/hosts/apt.py").read_text()))
    for package in ("relight", "workflows", "activities", "starter"):
        for file in (ROOT / package).rglob("*.py"):
            for found in WRITTEN.findall(file.read_text()):
                written |= set(filter(None, found))
    assert len(written) > 15
    assert written - RULES.keys() == set()


def test_every_class_has_rules():
    assert len(RULES) >= 25
    assert {rule.fault_class for rule in RULES.values()} == set(FaultClass)


@pytest.mark.parametrize("kind", RULES)
def test_meaning_and_advice_are_sentences(kind):
    rule = RULES[kind]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+|[a-z]+(-[a-z]+)*", kind)
    for words in (rule.meaning, rule.advice):
        assert words.endswith(".")
        assert "|" not in words


@pytest.mark.parametrize("kind", [kind for kind, rule in RULES.items() if rule.is_refusal])
def test_a_refusal_is_never_retried_and_blames_no_host(kind):
    assert not RULES[kind].retried
    assert RULES[kind].fault_class not in BUDGETED_CLASSES


@pytest.mark.parametrize(
    ("kind", "effect"),
    [
        ("repository-unreachable", RolloutEffect.HELD),
        ("route-busy", RolloutEffect.HELD),
        ("route-without-machine", RolloutEffect.SKIPPED),
        ("bad-value", RolloutEffect.SKIPPED),
        ("downgrade-refused", RolloutEffect.SKIPPED),
        ("probe-not-runnable", RolloutEffect.FAILED),
        ("terminated", RolloutEffect.FAILED),
        ("controller-bug", RolloutEffect.FAILED),
        ("host-unreachable", RolloutEffect.FAILED),
    ],
)
def test_only_what_waiting_cures_holds_a_rollout(kind, effect):
    assert effect_in_rollout(fault(kind, "it failed")) is effect


def test_a_kind_of_a_newer_version_fails_the_route_and_holds_nothing():
    newer = fault("controller-bug", "it failed").model_copy(update={"kind": "of-a-newer-version"})
    assert effect_in_rollout(newer) is RolloutEffect.FAILED


@pytest.mark.parametrize("kind", [k for k, r in RULES.items() if r.remedy is Remedy.ROLL_BACK])
def test_only_release_faults_are_rolled_back(kind):
    assert RULES[kind].fault_class is FaultClass.RELEASE


def test_host_identity_and_an_operators_hold_are_never_retried():
    for kind in ("host-key-mismatch", "packages-held", "unit-masked"):
        assert (RULES[kind].retried, RULES[kind].remedy) == (False, Remedy.ASK)


def test_a_fault_has_the_class_of_its_kind():
    made = fault("scope-busy", "v0.0.74 moves the fleet", "roll out")
    assert (made.fault_class, made.refused) == (FaultClass.CONTROLLER, True)


def test_the_document_matches_the_table():
    assert (ROOT / "docs/faults.md").read_text() == document()
    for kind in RULES:
        assert f"| `{kind}` |" in document()


LEADS_ON = re.compile(
    r"`relight (route (rollback|replace|swap|provision)|rollout start|reconcile)\b"
)


def test_what_a_host_has_for_longer_names_a_command_that_leads_on():
    """A fault that the next attempt repairs needs none."""
    dead_ends = [
        kind
        for kind, rule in RULES.items()
        if rule.fault_class in BUDGETED_CLASSES
        and rule.remedy in {Remedy.REPLACE, Remedy.ASK, Remedy.ROLL_BACK}
        and not LEADS_ON.search(rule.advice)
    ]
    assert dead_ends == []


@pytest.mark.parametrize("remedy", [Remedy.ROLL_BACK, Remedy.REPAIR])
def test_a_rollback_or_a_repair_is_never_the_only_way_out(remedy):
    rules = [rule for rule in RULES.values() if rule.remedy is remedy]
    assert rules
    for rule in rules:
        assert "`relight route replace ROUTE`" in rule.advice
