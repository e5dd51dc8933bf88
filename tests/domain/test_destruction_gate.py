"""The gate before every destruction: no history makes it destroy a machine that works."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from relight.domain.breaker.breaker import (
    Breaker,
    Destruction,
)
from relight.domain.breaker.decisions import update_breaker
from relight.domain.clock import TOLERANCE
from relight.domain.destruction import (
    Allowance,
    DestructionReason,
    Refusal,
    RefusedBy,
)
from relight.domain.destruction_gate import (
    Answer,
    DestructionEvidence,
    decide_destruction,
    is_own_fault,
)
from relight.domain.fault.table import RULES
from relight.domain.machine import MachineAtProvider
from tests.domain.destructions import DESTROYERS, LIMITS, MINUTE, RUN, machine, request
from tests.domain.fleets import NOW

pytestmark = pytest.mark.attack("every fault and every destroyer")


def decide(
    reason: DestructionReason,
    evidence: DestructionEvidence,
    breaker: Breaker | None = None,
    destroyed: Sequence[Destruction] = (),
    created_by: str | None = None,
) -> Refusal | None:
    allowance = Allowance(breaker or Breaker(), destroyed, LIMITS, NOW)
    asked = request(reason, created_by=created_by)
    return decide_destruction(asked, evidence, allowance, LIMITS, NOW)


def refused_by(
    reason: DestructionReason,
    evidence: DestructionEvidence,
    breaker: Breaker | None = None,
    destroyed: Sequence[Destruction] = (),
    created_by: str | None = None,
) -> RefusedBy | None:
    refusal = decide(reason, evidence, breaker, destroyed, created_by)
    return refusal.by if refusal else None


def failing(
    kind: str, minutes: float = 60, found: MachineAtProvider | None = None, **fields: Any
) -> DestructionEvidence:
    """A machine that has had a fault for some time, and has it now."""
    return DestructionEvidence(
        found=found or machine(),
        answers=(Answer(at=NOW - minutes * MINUTE, fault_kind=kind),),
        now_answers=Answer(at=NOW, fault_kind=kind),
        **fields,
    )


def working(**fields: Any) -> DestructionEvidence:
    """A machine that was faulty for an hour, and answers as ours now."""
    evidence = {"found": machine(), **dict(failing("host-unreachable")), **fields}
    return DestructionEvidence.model_validate({**evidence, "now_answers": Answer(at=NOW)})


ASKED = [each for each in DESTROYERS if each is not DestructionReason.REQUESTED]


@pytest.mark.parametrize("reason", DESTROYERS)
def test_a_machine_that_answers_as_ours_is_destroyed_for_no_reason(reason):
    refusal = decide(reason, working())
    assert refusal is not None
    assert refusal.by is RefusedBy.ANSWERS
    assert "`relight machine remove a-g1 --provider linode`" in refusal.why


@pytest.mark.parametrize("reason", DESTROYERS)
def test_a_persons_word_that_is_on_record_destroys_it(reason):
    assert decide(reason, working(word="eve: route-retired")) is None


def test_a_request_alone_is_no_word():
    assert refused_by(DestructionReason.REQUESTED, working()) is RefusedBy.ANSWERS


@pytest.mark.parametrize("reason", DESTROYERS)
@pytest.mark.parametrize("word", [None, "eve: route-retired"])
def test_a_machine_that_serves_is_never_destroyed(reason, word):
    evidence = failing("host-unreachable", serves="a", word=word)
    assert refused_by(reason, evidence) is RefusedBy.SERVES
    created = evidence.model_copy(update={"found": machine(created_by=RUN)})
    assert refused_by(reason, created, created_by=RUN) is RefusedBy.SERVES


@pytest.mark.parametrize("reason", ASKED)
def test_a_machine_that_has_failed_for_long_is_destroyed(reason):
    assert decide(reason, failing("host-unreachable", 10)) is None
    assert refused_by(reason, failing("host-unreachable", 9.9)) is RefusedBy.EVIDENCE


def test_what_the_operation_has_created_is_undone_also_if_it_answers():
    mine = working(found=machine(created_by=RUN))
    assert decide(DestructionReason.UNDONE, mine, created_by=RUN) is None


@pytest.mark.parametrize("created_by", ["another-run", None])
def test_what_the_operation_has_found_is_not_undone(created_by):
    found = working(found=machine(created_by=created_by))
    assert refused_by(DestructionReason.UNDONE, found, created_by=RUN) is RefusedBy.ANSWERS
    # Nor if the operation does not know its own run, nor for another reason.
    assert refused_by(DestructionReason.UNDONE, found) is RefusedBy.ANSWERS
    mine = working(found=machine(created_by=RUN))
    assert refused_by(DestructionReason.FAULTY, mine, created_by=RUN) is RefusedBy.ANSWERS


def test_a_machine_that_answered_a_moment_ago_is_spared():
    answered = Answer(at=NOW - 9 * MINUTE)
    late = failing("host-unreachable").model_copy(update={"answers": (answered,)})
    assert refused_by(DestructionReason.ORPHAN, late) is RefusedBy.EVIDENCE


@pytest.mark.parametrize("ahead", [MINUTE, timedelta(days=300)])
def test_an_answer_from_the_future_spares_a_machine(ahead):
    answers = (*failing("host-unreachable").answers, Answer(at=NOW + ahead))
    late = failing("host-unreachable").model_copy(update={"answers": answers})
    refusal = decide(DestructionReason.UNREACHABLE, late)
    assert refusal is not None
    assert refusal.by is RefusedBy.EVIDENCE
    # It may be spared for years: a person can do it at once.
    is_named = "`relight machine remove a-g1 --provider linode`" in refusal.why
    assert is_named == (ahead > TOLERANCE)


def test_another_host_key_is_left_to_a_person():
    assert refused_by(DestructionReason.UNREACHABLE, failing("host-key-mismatch")) is (
        RefusedBy.DOUBT
    )


def test_a_refused_login_counts_only_if_another_machine_accepts_it():
    reason = DestructionReason.UNREACHABLE
    assert refused_by(reason, failing("login-refused")) is RefusedBy.DOUBT
    assert decide(reason, failing("login-refused", login_works=True)) is None


def test_a_pool_that_has_enough_others_gives_a_working_machine_up():
    surplus = working(surplus="2 others are ready, and the pool should have 2")
    assert decide(DestructionReason.RECYCLED, surplus) is None
    # For nothing but its pool.
    assert refused_by(DestructionReason.ORPHAN, surplus) is RefusedBy.ANSWERS


def test_a_pool_machine_that_runs_another_release_than_its_record_is_left_to_a_person():
    surplus = working(surplus="the pool should have 0", pool_version="0.0.73")
    newer = surplus.model_copy(update={"now_answers": Answer(at=NOW, version="0.0.74")})
    assert refused_by(DestructionReason.RECYCLED, newer) is RefusedBy.DOUBT
    same = surplus.model_copy(update={"now_answers": Answer(at=NOW, version="0.0.73")})
    assert decide(DestructionReason.RECYCLED, same) is None


@pytest.mark.parametrize("reason", DESTROYERS)
def test_breaker_and_limits_hold_for_every_destroyer(reason):
    evidence = failing("host-unreachable", word="eve", found=machine(created_by=RUN))
    opened = update_breaker(Breaker(), (), (), LIMITS, NOW)
    assert refused_by(reason, evidence, opened, created_by=RUN) is RefusedBy.BREAKER
    done = [Destruction(at=NOW - MINUTE, provider="linode", region="east")] * 2
    assert refused_by(reason, evidence, None, done, created_by=RUN) is RefusedBy.LIMIT
    assert decide(reason, evidence, None, done[:1], created_by=RUN) is None


# ------------------------------------------------------------------ every fault, every destroyer


def cell(kind: str, reason: DestructionReason) -> int:
    """Return how many of two working machines are destroyed after an hour of a fault.

    The first answers again, and the second is one that the control plane cannot see rightly: all
    that it hears from it is the fault, which is not the machine's own.
    """
    recovered = working(answers=failing(kind).answers)
    wrong = [] if is_own_fault(kind) and kind != "login-refused" else [failing(kind)]
    seen = (recovered, *wrong)
    return sum(decide(reason, each, created_by=RUN) is None for each in seen)


def test_no_fault_and_no_destroyer_destroys_a_machine_that_works(capsys):
    table = {kind: [cell(kind, reason) for reason in DESTROYERS] for kind in sorted(RULES)}
    with capsys.disabled():
        title = "working machines destroyed after"
        print(f"\n{title:34}", *(f"{each:>12}" for each in DESTROYERS))  # noqa: T201
        for kind, counts in table.items():
            print(f"{kind:34}", *(f"{count:12}" for count in counts))  # noqa: T201
    assert sum(map(sum, table.values())) == 0
    # The same question about a machine with a fault of its own has another answer.
    dead = [decide(reason, failing("host-unreachable"), created_by=RUN) for reason in DESTROYERS]
    assert dead == [None] * len(DESTROYERS)
