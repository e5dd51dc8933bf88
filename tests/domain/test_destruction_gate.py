"""The gate before every destruction: no history makes it destroy a machine that works."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    ConnectivityResult,
    Destruction,
    MachineObservation,
)
from relight.domain.breaker.decisions import count_reach, update_breaker
from relight.domain.destruction import (
    Allowance,
    DestroyMachineInput,
    DestructionReason,
    Refusal,
    RefusedBy,
)
from relight.domain.destruction_gate import (
    Answer,
    DestructionEvidence,
    decide_destruction,
    is_own_fault,
    needs_answer,
)
from relight.domain.fault.table import RULES
from relight.domain.machine import MachineAtProvider, MachineStatus
from relight.domain.remediation import means_unreachable
from tests.domain.fleets import NOW

HISTORIES = int(os.environ.get("GATE_HISTORIES", "10000"))
"""How many random histories are played."""

LIMITS = BreakerLimits()
MINUTE = timedelta(minutes=1)
RUN = "the-run-that-failed"
WORKS = None
"""The kind of no fault: the machine answers as ours."""

KINDS = (
    *(WORKS, "host-unreachable", "login-refused", "host-key-mismatch"),
    *("unit-failed", "disk-full"),
)
DESTROYERS = tuple(DestructionReason)


def machine(key: str = "a-g1", **fields: Any) -> MachineAtProvider:
    facts = {
        "key": key,
        "provider": "linode",
        "provider_id": key,
        "region": "east",
        "architecture": "amd64",
        "status": MachineStatus.RUNNING,
        "owner": "us",
        "generation": 1,
    }
    return MachineAtProvider.model_validate({**facts, **fields})


def request(reason: DestructionReason, key: str = "a-g1", **fields: Any) -> DestroyMachineInput:
    return DestroyMachineInput(provider="linode", key=key, reason=reason, **fields)


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
    assert "`relight machine remove a-g1`" in refusal.why


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
    assert refused_by(DestructionReason.UNREACHABLE, late) is RefusedBy.EVIDENCE


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


# ------------------------------------------------------------------ random histories


@dataclass
class Host:
    """A machine of a random history.

    Attributes:
        kind: its fault now; None while it works.
        answered_at: when it last answered as ours.
        answers: what is on record.
        word: a person has asked for its destruction.
    """

    at_provider: MachineAtProvider
    track: str | None = None
    kind: str | None = WORKS
    answered_at: datetime | None = None
    answers: list[Answer] = field(default_factory=list)
    word: str | None = None
    serves: str | None = None


@dataclass
class History:
    """A fleet of four machines, and a clock."""

    now: datetime = NOW
    online: bool = True
    breaker: Breaker = field(default_factory=Breaker)
    destroyed: list[tuple[datetime, Host, bool]] = field(default_factory=list)
    hosts: list[Host] = field(
        default_factory=lambda: [
            Host(machine("a-g1", created_by=RUN), "stable"),
            Host(machine("b-g1"), "stable"),
            Host(machine("c-g1", region="west"), "beta", serves="c"),
            Host(machine("pool-linode-west-1", region="west")),
        ]
    )

    def observe(self, host: Host, ahead: timedelta = timedelta()) -> Answer:
        """Record what a machine answers; the clock may be ahead meanwhile."""
        answer = Answer(at=self.now + ahead, fault_kind=host.kind)
        if host.kind is WORKS:
            host.answered_at = self.now
        host.answers.append(answer)
        return answer

    def evaluate(self, asked: Host, answer: Answer | None) -> None:
        """Evaluate the breaker as the gate does."""
        machines = [
            _observation(each, answer if each is asked and answer else _last(each))
            for each in self.hosts
        ]
        destructions = [
            Destruction(
                at=at,
                provider=host.at_provider.provider,
                region=host.at_provider.region,
                track=host.track,
                unreachable=unreachable,
            )
            for at, host, unreachable in self.destroyed
        ]
        reach = count_reach(machines, destructions, LIMITS, self.now)
        check = ConnectivityResult(name="up", observed_at=self.now, reached=self.online)
        self.breaker = update_breaker(self.breaker, reach, (check,), LIMITS, self.now)

    def destroy(self, host: Host, reason: DestructionReason) -> None:
        """Ask the gate, and check what it allows."""
        asked = request(
            reason,
            host.at_provider.key,
            track=host.track,
            created_by=RUN,
            unreachable=reason is DestructionReason.UNREACHABLE,
        )
        works = any(each.kind is WORKS for each in self.hosts if each is not host)
        evidence = DestructionEvidence(
            found=host.at_provider,
            serves=host.serves,
            word=host.word,
            answers=tuple(host.answers),
            login_works=works,
        )
        answer = self.observe(host) if needs_answer(asked, evidence) else None
        self.evaluate(host, answer)
        evidence = evidence.model_copy(update={"now_answers": answer})
        before = [
            Destruction(at=at, provider=each.at_provider.provider, region=each.at_provider.region)
            for at, each, _ in self.destroyed
        ]
        allowance = Allowance(self.breaker, before, LIMITS, self.now)
        if decide_destruction(asked, evidence, allowance, LIMITS, self.now) is None:
            self.check(host, reason)
            self.hosts.remove(host)
            self.destroyed.append((self.now, host, asked.unreachable))

    def check(self, host: Host, reason: DestructionReason) -> None:
        """What is destroyed did not answer lately, but by a word or by who created it."""
        undone = reason is DestructionReason.UNDONE and host.at_provider.created_by == RUN
        if host.word is None and not undone:
            assert host.kind is not WORKS, "it answers"
            spared = host.answered_at is not None and (
                self.now - host.answered_at < LIMITS.spared_for
            )
            assert not spared, "it answered a moment ago"
            assert host.kind != "host-key-mismatch"
        assert host.serves is None
        assert self.online
        assert not self.breaker.is_open
        recent = [
            each.at_provider.region
            for at, each, _ in self.destroyed
            if self.now - at < timedelta(hours=1)
        ]
        assert recent.count(host.at_provider.region) < LIMITS.destroyed_per_hour_in_region


def _last(host: Host) -> Answer | None:
    return max(host.answers, key=lambda each: each.at, default=None)


def _observation(host: Host, answer: Answer | None) -> MachineObservation:
    return MachineObservation(
        key=host.at_provider.key,
        provider=host.at_provider.provider,
        region=host.at_provider.region,
        track=host.track,
        observed_at=answer.at if answer else None,
        reached=answer is not None
        and (answer.fault_kind is None or not means_unreachable(answer.fault_kind)),
    )


ACTS = ("observe", "observe ahead", "word", "online", "retire", *DESTROYERS)
STEPS = [
    (act, host, kind, minutes)
    for act in ACTS
    for host in range(4)
    for kind in (KINDS if act in {"observe", "observe ahead"} else (WORKS,))
    for minutes in (0, 3, 11)
] + [(act, host, "same", minutes) for act in DESTROYERS for host in range(4) for minutes in (0, 6)]
"""All steps of a history: what happens, to which machine, its new state, and how long before."""


@settings(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
@given(st.lists(st.integers(0, len(STEPS) - 1), min_size=4, max_size=24))
def test_in_no_history_is_a_machine_destroyed_that_answered_lately(steps):
    history = History()
    for act, number, kind, minutes in (STEPS[each] for each in steps):
        history.now += minutes * MINUTE
        if number >= len(history.hosts):
            continue
        host = history.hosts[number]
        match act:
            case "observe":
                host.kind = kind
                history.observe(host)
            case "observe ahead":
                host.kind = kind
                history.observe(host, timedelta(hours=1))
            case "word":
                host.word = "eve: machine-removal-requested"
            case "online":
                history.online = not history.online
            case "retire":
                host.serves = None
            case DestructionReason():
                history.destroy(host, act)
