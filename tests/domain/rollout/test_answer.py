"""Why a rollout does not go on: each failed host, its remedy and the next command."""

from datetime import UTC, datetime

import pytest

from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES, fault
from relight.domain.rollout.answer import (
    MAX_FAILED_HOSTS,
    answer_of,
    host_lines,
    named_hosts,
)
from relight.domain.rollout.rollout import (
    RolloutPhase,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)

KIND_OF = {rule.remedy: kind for kind, rule in RULES.items()}
"""One kind of fault for each remedy."""


def failed(kind="unit-failed", progress=RouteProgress.FAILED, route_id="eu-1"):
    cause = fault(kind, f"{route_id}-g1 (192.0.2.7): it failed").model_copy(
        update={"machine_key": f"{route_id}-g1", "host": "192.0.2.7"}
    )
    return RouteOutcome(route_id=route_id, wave=1, progress=progress, fault=cause)


def status(*routes, phase=RolloutPhase.STOPPED, **fields):
    counts = {each.progress: 0 for each in routes}
    for each in routes:
        counts[each.progress] += 1
    return RolloutStatus(
        **{
            "release_tag": "v0.0.74",
            "scope": "fleet",
            "phase": phase,
            "wave": 1,
            "waves": 2,
            "routes": routes,
            "detail": "stopped in wave 1",
            "since": datetime(2026, 11, 1, 12, tzinfo=UTC),
            "counts": counts,
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("remedy", "running", "ended"),
    [
        (Remedy.REPAIR, "relight rollout retry v0.0.74", "relight route swap eu-1 v0.0.74"),
        (Remedy.ROLL_BACK, "relight route rollback eu-1", "relight route rollback eu-1"),
        (
            Remedy.REPLACE,
            f"relight route replace eu-1 --reason {KIND_OF[Remedy.REPLACE]}",
            f"relight route replace eu-1 --reason {KIND_OF[Remedy.REPLACE]}",
        ),
        (Remedy.WAIT, "relight rollout retry v0.0.74", "relight route swap eu-1 v0.0.74"),
        (Remedy.ASK, "relight route show eu-1", "relight route show eu-1"),
    ],
)
def test_the_next_command_is_that_of_the_remedy(remedy, running, ended):
    for phase, command in ((RolloutPhase.RUNNING, running), (RolloutPhase.STOPPED, ended)):
        [host] = answer_of(status(failed(KIND_OF[remedy]), phase=phase)).failed
        assert (host.remedy, host.command) == (remedy, command)


def test_a_host_is_named_with_its_fault_its_remedy_and_advice_for_this_route():
    [host] = answer_of(status(failed("unit-failed"))).failed
    assert (host.route_id, host.machine_key, host.host) == ("eu-1", "eu-1-g1", "192.0.2.7")
    assert "relight route rollback eu-1" in host.advice
    assert "ROUTE" not in host.advice
    assert host_lines(host)[-1] == f"next: {host.command}"


def test_every_kind_of_fault_leads_to_a_command():
    for kind in RULES:
        [host] = answer_of(status(failed(kind))).failed
        assert host.command.startswith("relight ")


def test_a_kind_of_a_newer_version_is_shown_and_left_to_a_person():
    outcome = failed()
    newer = outcome.model_copy(update={"fault": outcome.fault.model_copy(update={"kind": "newer"})})
    [host] = answer_of(status(newer)).failed
    assert (host.fault, host.remedy, host.advice) == ("newer", Remedy.ASK, "")
    assert host.command == "relight route show eu-1"


def test_a_route_that_the_rollout_tries_again_needs_no_command():
    waiting = failed("repository-unreachable", RouteProgress.WAITING)
    [host] = answer_of(status(waiting, phase=RolloutPhase.HOLDING)).failed
    assert host.command == ""
    assert host_lines(host)[-1] == "next: the rollout tries it again by itself"


def test_a_failed_route_of_an_undo_is_brought_back_by_the_undo():
    [host] = answer_of(status(failed(), undo=True, scope="track:beta")).failed
    assert host.command == "relight rollout undo v0.0.74 --track beta"


@pytest.mark.parametrize("phase", RolloutPhase)
@pytest.mark.parametrize(
    "progress", [RouteProgress.FAILED, RouteProgress.NOT_ROLLED_BACK, RouteProgress.ROLLED_BACK]
)
def test_there_is_something_to_do_beside_failed_hosts(phase, progress):
    answer = answer_of(status(failed(progress=progress), phase=phase))
    assert "relight rollout why v0.0.74" in answer.to_do


def test_a_rollout_without_failed_hosts_leaves_nothing_to_do():
    answer = answer_of(status(phase=RolloutPhase.CONVERGED))
    assert (answer.to_do, answer.failed, answer.until) == ("", (), "")


def test_the_first_failed_hosts_are_named_and_the_others_counted():
    routes = [failed("repository-unreachable", RouteProgress.WAITING, "requeued")]
    routes += [failed(route_id=f"eu-{number}") for number in range(MAX_FAILED_HOSTS + 4)]
    answer = answer_of(status(*routes))
    assert len(answer.failed) == MAX_FAILED_HOSTS
    assert {host.progress for host in answer.failed} == {RouteProgress.FAILED}
    assert answer.more_failed == 5
    assert named_hosts(answer.failed, answer.more_failed)[-1] == "and 5 more"


def test_failures_that_a_large_rollout_does_not_list_are_counted():
    answer = answer_of(status(failed(), counts={RouteProgress.FAILED: 9000}))
    assert answer.more_failed == 8999


@pytest.mark.parametrize(
    ("phase", "to_do", "until"),
    [
        (RolloutPhase.PAUSED, "relight rollout resume, or abort", "a person resumes or aborts it"),
        (RolloutPhase.HOLDING, "relight rollout approve, or abort", "a person approves or aborts"),
        (RolloutPhase.HOLDING, "it continues by itself", "the cause is gone"),
        (RolloutPhase.SOAKING, "", "the soak is over"),
        (RolloutPhase.RUNNING, "", ""),
    ],
)
def test_it_says_what_ends_the_wait(phase, to_do, until):
    answer = answer_of(status(phase=phase, to_do=to_do))
    assert until in answer.until
    assert bool(until) == bool(answer.until)


def test_the_sentence_has_the_phase_its_start_the_reason_and_what_to_do():
    answer = answer_of(status(failed(), to_do="relight rollout resume"))
    assert answer.sentence == (
        "stopped since 2026-11-01 12:00:00 UTC: stopped in wave 1; to do: relight rollout resume"
    )
