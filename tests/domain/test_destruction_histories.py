"""The gate before every destruction, in random histories of a fleet."""

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.domain.breaker.breaker import (
    Breaker,
    ConnectivityResult,
    Destruction,
    MachineObservation,
)
from relight.domain.breaker.decisions import count_reach, update_breaker
from relight.domain.destruction import (
    Allowance,
    DestructionReason,
)
from relight.domain.destruction_gate import (
    Answer,
    DestructionEvidence,
    decide_destruction,
    needs_answer,
)
from relight.domain.machine import MachineAtProvider
from relight.domain.route_history import means_unreachable
from tests.domain.destructions import DESTROYERS, LIMITS, MINUTE, RUN, WORKS, machine, request
from tests.domain.fleets import NOW

pytestmark = pytest.mark.attack("random histories of a fleet")

HISTORIES = int(os.environ.get("GATE_HISTORIES", "10000"))
"""How many random histories are played."""

KINDS = (
    *(WORKS, "host-unreachable", "login-refused", "host-key-mismatch"),
    *("unit-failed", "disk-full"),
)


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
