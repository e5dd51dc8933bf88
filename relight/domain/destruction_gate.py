"""The gate before every destruction: whoever asks, this decides.

A machine is destroyed only if it serves nothing by our records, if no person keeps it, if the
reason has fresh evidence, if the breaker allows it now, and within the hourly limits.

A machine *answers as ours* if it accepts our login under the host key that was derived for it, and
its service runs there. Such a machine is not destroyed, nor one that answered as ours within
`spared_for`, with these exceptions:

- a person asked for it, which is on record: by name, by a command on its route, or by the declared
  size of its pool, which has enough others that are ready;
- the very operation that failed has created it (`undone`). One that it found is not undone.

Without an exception the machine must have failed for as long as `spared_for`, also just now, with
a fault that is its own. Another host key, or a login that is refused while no other machine accepts
ours, may be our fault: a person decides.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from relight.domain.base import Message
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.clock import is_future
from relight.domain.destruction import (
    Allowance,
    DestroyMachineInput,
    DestructionReason,
    Refusal,
    RefusedBy,
)
from relight.domain.duration import span
from relight.domain.fault.fault import BUDGETED_CLASSES
from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES
from relight.domain.machine import MachineAtProvider, MachineOnRecord, RecordedAs
from relight.domain.names import RouteId

OF_THE_HOST = frozenset({Remedy.REPLACE, Remedy.REPAIR, Remedy.ROLL_BACK})
"""Remedies of faults that are the machine's own. Others need a person, or blame no host."""

LOGIN_REFUSED = "login-refused"

EVIDENCE_LASTS = timedelta(hours=24)
"""Older observations of a machine do not count."""


class Answer(Message):
    """What one observation of a machine has shown.

    Attributes:
        fault_kind: what was wrong; None if the machine answered as ours.
        version: of its service's package, where it was read.
    """

    at: AwareDatetime
    fault_kind: str | None = None
    version: str | None = None


class DestructionEvidence(Message):
    """What is known about a machine that is to be destroyed.

    Attributes:
        found: what its provider reports now.
        record: what we have on record of it; None without one.
        serves: the route that it serves, on record.
        kept: who keeps it, on record, although somebody asked for its destruction before; None if
            nobody does.
        word: who asked for its destruction, and how, on record; None if nobody did.
        surplus: why its pool does not need it, by the declared size; None if it does, or is none's.
        pool_version: the version that it should run by the record of its pool; None if unknown.
        doubt: why, spare by the record of its pool, it may serve a route; None if nothing says so.
        now_answers: what it answered just now; None if it was not asked.
        answers: recent observations on record, in any order.
        login_works: another machine accepted our login when this one refused it.
    """

    found: MachineAtProvider
    record: MachineOnRecord | None = None
    serves: RouteId | None = None
    kept: str | None = None
    word: str | None = None
    surplus: str | None = None
    pool_version: str | None = None
    doubt: str | None = None
    now_answers: Answer | None = None
    answers: tuple[Answer, ...] = ()
    login_works: bool = False


def needs_answer(request: DestroyMachineInput, evidence: DestructionEvidence) -> bool:
    """Return whether the machine has to be asked before a decision."""
    return evidence.word is None and not _is_undone(request, evidence.found)


def is_spare(request: DestroyMachineInput, evidence: DestructionEvidence) -> bool:
    """Return whether a machine goes because its pool has enough, if the record is true."""
    asked = evidence.word is None and evidence.serves is None
    return asked and request.reason is DestructionReason.RECYCLED and evidence.surplus is not None


def with_records(
    request: DestroyMachineInput,
    asked: DestructionEvidence,
    records: DestructionEvidence,
    doubt: str | None,
) -> DestructionEvidence:
    """Return what the records say by now, with what the machine has said.

    Args:
        request: who asks, and why.
        asked: what was known when the machine was asked.
        records: what the records alone say, read in the transaction that decides.
        doubt: why the machine may serve a route, by the same records and a listing.
    """
    # Without a listing, which is asked for only if the machine was spare already, it is not spare.
    surplus = records.surplus if is_spare(request, asked) else None
    said = {name: getattr(asked, name) for name in ("now_answers", "login_works")}
    return records.model_copy(update={**said, "surplus": surplus, "doubt": doubt})


def decide_destruction(
    request: DestroyMachineInput,
    evidence: DestructionEvidence,
    allowance: Allowance,
    limits: BreakerLimits,
    now: datetime,
) -> Refusal | None:
    """Return why a machine is not destroyed now; None if it is destroyed.

    That it is the named machine and ours is checked before (`identity_mismatch`).

    Args:
        request: who asks, and why.
        evidence: what is known about the machine.
        allowance: the breaker's state now, and the destructions that come before this one.
        limits: how long an answer spares a machine.
        now: the current time, with its time zone.
    """
    found, created = evidence.found, _is_undone(request, evidence.found)
    if evidence.serves is not None:
        why = f"machine {found.key} serves route {evidence.serves}"
        return Refusal(by=RefusedBy.SERVES, why=why, created=created)
    if evidence.kept is not None:
        why = f"machine {found.key} is kept by {evidence.kept}; {_by_hand(evidence)}"
        return Refusal(by=RefusedBy.KEPT, why=why, created=created)
    refusal = None if created else _unjustified(request, evidence, limits, now)
    if refusal is not None:
        return refusal
    where = found.provider, found.region
    if why_not := allowance.why_breaker_refuses(*where, request.track):
        return Refusal(by=RefusedBy.BREAKER, why=why_not, created=created)
    if why_not := allowance.why_limited(*where):
        return Refusal(by=RefusedBy.LIMIT, why=why_not, created=created)
    return None


def is_own_fault(kind: str) -> bool:
    """Return whether a kind of fault is a machine's own, so that it may be destroyed for it."""
    rule = RULES.get(kind)
    return rule is not None and rule.fault_class in BUDGETED_CLASSES and rule.remedy in OF_THE_HOST


def latest(answers: Sequence[Answer]) -> Answer | None:
    """Return the latest observation; None if there is none."""
    return max(answers, key=lambda answer: answer.at, default=None)


def last_answer(answers: Sequence[Answer]) -> datetime | None:
    """Return when a machine last answered as ours; None if it never did."""
    return max((each.at for each in answers if each.fault_kind is None), default=None)


def faulty_since(answers: Sequence[Answer]) -> datetime | None:
    """Return since when each observation has shown a fault of its own; else None."""
    since: datetime | None = None
    for each in sorted(answers, key=lambda answer: answer.at):
        if each.fault_kind is None or not is_own_fault(each.fault_kind):
            since = None
        elif since is None:
            since = each.at
    return since


def _is_undone(request: DestroyMachineInput, found: MachineAtProvider) -> bool:
    """Return whether the operation that asks has itself created the machine.

    The run that creates a machine is written to it at the provider, in the same request. So it also
    holds if the reply was lost, if the activity ran again, and if our records are older.
    """
    return (
        request.reason is DestructionReason.UNDONE
        and request.created_by is not None
        and request.created_by == found.created_by
    )


def _unjustified(
    request: DestroyMachineInput,
    evidence: DestructionEvidence,
    limits: BreakerLimits,
    now: datetime,
) -> Refusal | None:
    """Return what the reason lacks, for a machine that the operation did not create."""
    if evidence.word is not None:
        return None
    if request.reason is DestructionReason.RECYCLED and evidence.surplus is not None:
        return _contradiction(evidence)
    return _not_faulty(evidence, limits, now)


def _contradiction(evidence: DestructionEvidence) -> Refusal | None:
    """Return what contradicts the record of a pool machine; None if nothing does."""
    if evidence.doubt is not None:
        return Refusal(
            by=RefusedBy.DOUBT,
            why=f"machine {evidence.found.key} may serve a route, and the record be old: "
            f"{evidence.doubt}; {_by_hand(evidence)}",
        )
    key, answer, expected = evidence.found.key, evidence.now_answers, evidence.pool_version
    if answer is None or answer.version is None or expected in (None, answer.version):
        return None
    return Refusal(
        by=RefusedBy.DOUBT,
        why=f"machine {key} runs {answer.version}, and should run {expected} by the record of its "
        f"pool: the record may be old; {_by_hand(evidence)}",
    )


def _not_faulty(
    evidence: DestructionEvidence, limits: BreakerLimits, now: datetime
) -> Refusal | None:
    """Return why a machine does not count as faulty; None if it does."""
    key, answer = evidence.found.key, evidence.now_answers
    if answer is None:
        return Refusal(by=RefusedBy.EVIDENCE, why=f"machine {key} was not asked")
    answers = (*evidence.answers, answer)
    if answer.fault_kind is None:
        why = f"machine {key} answers as ours, and its service runs; {_by_hand(evidence)}"
        return Refusal(by=RefusedBy.ANSWERS, why=why)
    answered_at, spared_for = last_answer(answers), limits.spared_for
    # A time in the future, after a jump of a clock, spares the machine too.
    if answered_at is not None and now - answered_at < spared_for:
        why = f"machine {key} answered as ours at {answered_at:%Y-%m-%d %H:%M:%S} UTC"
        if is_future(answered_at, now):
            why = f"{why}, which is in the future: check the clocks; {_by_hand(evidence)}"
        return Refusal(by=RefusedBy.EVIDENCE, why=f"{why}; that spares it for {span(spared_for)}")
    if doubt := _doubt(answer, login_works=evidence.login_works):
        why = f"machine {key}: {doubt}; {_by_hand(evidence)}"
        return Refusal(by=RefusedBy.DOUBT, why=why)
    since = faulty_since(answers)
    if since is None or now - since < spared_for:
        why = f"machine {key} has {answer.fault_kind}, but not yet for {span(spared_for)}"
        return Refusal(by=RefusedBy.EVIDENCE, why=why)
    return None


def _doubt(answer: Answer, *, login_works: bool) -> str | None:
    kind = answer.fault_kind or ""
    if kind == LOGIN_REFUSED and not login_works:
        return "it refuses our login, and no other machine accepts it: our key may be the cause"
    if not is_own_fault(kind):
        return f"it has {kind}, which is no reason to destroy it"
    return None


def _by_hand(evidence: DestructionEvidence) -> str:
    """Return the command that removes a machine all the same."""
    found, record = evidence.found, evidence.record
    known = record is not None and record.recorded_as is not RecordedAs.DESTROYED
    provider = "" if known else f" --provider {found.provider}"
    return f"`relight machine remove {found.key}{provider}` removes it all the same"
