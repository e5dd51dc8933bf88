"""The one door to a destruction: every machine is destroyed by `destroy_machine`.

It decides by the gate (`relight/domain/destruction_gate.py`) at each attempt, immediately before it
requests anything: with the machine as its provider and its host describe it now, and the breaker as
it is now. A test keeps all other code from a driver's `destroy`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities import policies
from activities.execution import current_operation
from activities.machine.ask import MachineQuestions
from activities.machine.departure import Departure, MachineStillAnswersError
from activities.machine.listing import list_machines
from activities.machine.polls import MachinePolls, search
from relight.breaker_evaluation import BreakerEvaluation
from relight.connectivity import ConnectivityCheck, run_all
from relight.domain.breaker.breaker import Breaker, Destruction, MachineObservation
from relight.domain.clock import is_future
from relight.domain.destruction import (
    FOR_A_PERSON,
    Allowance,
    BeginRemovalInput,
    DestroyMachineInput,
    MachineDestroyed,
    Refusal,
    RefusedBy,
    identity_mismatch,
)
from relight.domain.destruction_gate import (
    LOGIN_REFUSED,
    Answer,
    DestructionEvidence,
    decide_destruction,
    is_spare,
    latest,
    needs_answer,
    with_records,
)
from relight.domain.machine import MachineAtProvider, MachineOnRecord, MachineRef, MachineStatus
from relight.domain.names import key_number
from relight.domain.route import Recorded
from relight.domain.route_history import means_unreachable
from relight.domain.sweep.spare import why_spare_may_serve
from relight.domain.sweep.sweep import ProviderListing, SweepPolicy
from relight.engine.step import step
from relight.hosts.host_key_probe import HostKeyProbe
from relight.providers.driver import Leaving, ProviderDriver, ProviderError, driver_named
from relight.store.destructions import RecordsOf
from relight.store.store import Store
from relight.store.threads import in_thread

REPEAT_DESTROY_AFTER = timedelta(seconds=30)
"""How long a machine may be deleting before the destroy request is sent again.

Most machines are gone within seconds. Providers sometimes lose an accepted request, so it is
repeated: often enough within an attempt of ten minutes, rarely enough for rate limits."""

MAX_REFERENCES = 3
"""How many other machines are asked whether they accept our login."""


class MachineNotOursError(ProviderError):
    """The machine with this key is not the machine that was to be destroyed."""

    kind = "machine-not-ours"


@dataclass(frozen=True)
class Destroyer:
    """What the gate works with.

    Attributes:
        drivers: of the providers, by name.
        owner: the fleet's ownership tag.
        questions: asks machines.
        host_keys: tells which host key an address shows.
        connectivity: the control plane's connectivity checks.
        breaker: evaluates the breaker.
    """

    store: Store
    drivers: Mapping[str, ProviderDriver]
    owner: str
    questions: MachineQuestions
    host_keys: HostKeyProbe
    connectivity: Sequence[ConnectivityCheck]
    breaker: BreakerEvaluation


class DestructionActivities:
    """Destroys machines, and records what was destroyed and what was not."""

    def __init__(self, parts: Destroyer) -> None:
        self._parts = parts
        self._store = parts.store
        self._polls = MachinePolls()

    @step(policies.DESTROY, lambda i: f"{i.key} at {i.provider}: {i.reason}", lasting=True)
    async def destroy_machine(self, input: DestroyMachineInput) -> MachineDestroyed:
        """Return when the machine with this key is gone, or why it is not destroyed.

        It is gone if its provider has none, and no host shows its key at its address. That is
        success, also if it never existed. Each observation checks that the machine with this key is
        the one that is named and has our ownership tag; otherwise nothing is requested. An accepted
        request is waited for, and repeated after `REPEAT_DESTROY_AFTER`.

        Raises:
            MachineStillAnswersError: its provider has none, and its host goes on answering.
        """
        driver = driver_named(self._parts.drivers, input.provider)
        requested_at: float | None = None
        begun = False
        departure = Departure(self._parts.host_keys, input)
        first = found = await search(driver, input.key, input.provider_id)
        address = await in_thread(self._store.destructions.last_address, input.key)
        while found is not None or await self._still_answers(departure, input, address):
            if found is None:
                activity.heartbeat(f"absent, and the host at {address} still answers")
                found = await self._next(driver, input)
                continue
            departure.restart()
            address = found.address or address
            await self._require_still_ours(found, input)
            if requested_at is None and found.status is MachineStatus.DELETING:
                requested_at = time.monotonic()  # By someone else, or by an earlier attempt.
            elif requested_at is None or _has_passed(REPEAT_DESTROY_AFTER, requested_at):
                refusal = None if begun else await self._decide(input, found, begin=True)
                if refusal is not None:
                    return MachineDestroyed(key=input.key, was_present=True, refusal=refusal)
                begun = True
                await driver.destroy(found.ref)
                requested_at = time.monotonic()
            activity.heartbeat(found.status)
            found = await self._next(driver, input)
        await self._clear(driver, input, first)
        await in_thread(self._record, input, first)
        return MachineDestroyed(key=input.key, was_present=first is not None)

    @step(policies.ASK, lambda i: f"{i.key} at {i.provider}: {i.reason}")
    async def check_destruction(self, input: DestroyMachineInput) -> MachineDestroyed:
        """Return why a machine would not be destroyed now; nothing is destroyed."""
        found = await driver_named(self._parts.drivers, input.provider).find(input.key)
        if found is None or found.status is MachineStatus.DELETING:
            return MachineDestroyed(key=input.key, was_present=found is not None)
        await self._require_still_ours(found, input)
        refusal = await self._decide(input, found, begin=False)
        return MachineDestroyed(key=input.key, was_present=True, refusal=refusal)

    @step(policies.STORE, lambda i: i.key, lasting=True)
    def begin_removal(self, input: BeginRemovalInput) -> Recorded:
        """Record that a machine, whose undo was refused, is removed by an operation of its own."""
        self._store.destructions.begin_removal(input.key, current_operation(input.origin))
        return Recorded()

    async def _next(
        self, driver: ProviderDriver, input: DestroyMachineInput
    ) -> MachineAtProvider | None:
        return await self._polls.next(driver, input.region, input.key, input.provider_id)

    async def _still_answers(
        self, departure: Departure, input: DestroyMachineInput, address: str | None
    ) -> bool:
        """Return whether an absent machine still answers; if it does for too long, record that.

        Raises:
            MachineStillAnswersError: as `Departure.still_answers`.
        """
        try:
            return await departure.still_answers(address)
        except MachineStillAnswersError as error:
            refusal = Refusal(by=RefusedBy.ANSWERS, why=str(error))
            operation = current_operation(input.origin)
            await in_thread(self._store.destructions.record_refusal, input, refusal, operation)
            raise

    # ------------------------------------------------------------------ the gate

    async def _decide(
        self, input: DestroyMachineInput, found: MachineAtProvider, *, begin: bool
    ) -> Refusal | None:
        """Return why a machine is not destroyed now, and record that; None if it is.

        Args:
            input: who asks, and why.
            found: the machine, which is ours.
            begin: record that the destruction begins.
        """
        store, operation = self._store.destructions, current_operation(input.origin)
        asked = await in_thread(self._store.destruction_evidence.get, found)
        if asked.serves is None and needs_answer(input, asked):
            asked = await self._with_answer(asked, input)
        await self._evaluate_breaker(input, asked)
        listing: ProviderListing | None = None
        if is_spare(input, asked):
            listing = await list_machines(driver_named(self._parts.drivers, input.provider))

        def decide(
            breaker: Breaker,
            ahead: Sequence[Destruction],
            records: DestructionEvidence,
            records_of: RecordsOf,
        ) -> Refusal | None:
            # To ask takes minutes: what the records say is read again by whoever decides.
            self._require_ours(found, input, records.record)
            now, limits = datetime.now(UTC), self._parts.breaker.limits
            doubt: str | None = None
            if listing is not None:
                policy = SweepPolicy(owner=self._parts.owner)
                doubt = why_spare_may_serve(records_of(listing), found, policy, now)
            evidence = with_records(input, asked, records, doubt)
            allowance = Allowance(breaker, ahead, limits, now)
            return decide_destruction(input, evidence, allowance, limits, now)

        if begin:
            refusal = await in_thread(store.begin, input, found, operation, decide)
        else:
            refusal = await in_thread(store.check, found, decide)
        if refusal is not None and refusal.by in FOR_A_PERSON:
            await in_thread(store.record_refusal, input, refusal, operation)
        return refusal

    async def _with_answer(
        self, evidence: DestructionEvidence, input: DestroyMachineInput
    ) -> DestructionEvidence:
        """Ask the machine now, and record an answer that differs from its last one."""
        answer = await self._parts.questions.ask(evidence.found.machine)
        # What a clock dated ahead says nothing of since when a fault has lasted.
        now = datetime.now(UTC)
        last = latest([each for each in evidence.answers if not is_future(each.at, now)])
        if last is None or last.fault_kind != answer.fault_kind:
            operation = current_operation(input.origin)
            record = self._store.destruction_evidence.record_answer
            await in_thread(record, input.key, answer, operation)
        works = answer.fault_kind == LOGIN_REFUSED and await self._login_works(input.key)
        return evidence.model_copy(update={"now_answers": answer, "login_works": works})

    async def _login_works(self, refused_by: str) -> bool:
        """Return whether another machine accepts our login now."""
        for route in await in_thread(self._store.destruction_evidence.references, MAX_REFERENCES):
            if route.key == refused_by:
                continue
            answer = await self._parts.questions.ask(route)
            if answer.fault_kind is None:
                return True
        return False

    async def _evaluate_breaker(
        self, input: DestroyMachineInput, evidence: DestructionEvidence
    ) -> None:
        """Evaluate the breaker now, with what this machine has just answered."""
        checks = await run_all(self._parts.connectivity)
        await in_thread(
            self._parts.breaker.evaluate,
            current_operation(input.origin),
            checks,
            _observation(evidence.found, input, evidence.now_answers),
        )

    # ------------------------------------------------------------------ ownership and records

    async def _require_still_ours(
        self, found: MachineAtProvider, input: DestroyMachineInput
    ) -> None:
        """Check that a machine is the one that is named; so does the decision, once more.

        Raises:
            MachineNotOursError: as `_require_ours`.
        """
        record = await in_thread(self._store.destruction_evidence.record_of, input.key)
        self._require_ours(found, input, record)

    def _require_ours(
        self,
        found: MachineAtProvider,
        input: DestroyMachineInput,
        record: MachineOnRecord | None,
    ) -> None:
        """Refuse to destroy a machine unless it is the one that is named. Unknown values match.

        Raises:
            MachineNotOursError: it is another machine, or lacks our ownership tag.
        """
        recorded_id = record.provider_id if record is not None else None
        known = {
            "provider_id": input.provider_id or recorded_id or found.provider_id,
            "generation": input.generation or key_number(input.key),
        }
        reason = identity_mismatch(input.model_copy(update=known), found, self._parts.owner)
        if reason is not None:
            raise MachineNotOursError(input.provider, f"destroy {input.key}", reason)

    async def _clear(
        self, driver: ProviderDriver, input: DestroyMachineInput, found: MachineAtProvider | None
    ) -> None:
        """Delete what the machine has left: nobody looks for it later."""
        if not isinstance(driver, Leaving):
            return
        record = await in_thread(self._store.destruction_evidence.record_of, input.key)
        known = (found, record)
        ids = (input.provider_id, *(each.provider_id for each in known if each is not None))
        provider_id = next(filter(None, ids), "")
        machine = MachineRef(key=input.key, provider=input.provider, provider_id=provider_id)
        await driver.clear(machine, self._parts.owner)

    def _record(self, input: DestroyMachineInput, found: MachineAtProvider | None) -> None:
        if found is None and self._store.machines.get(input.key) is None:
            return
        self._store.destructions.record(
            input.key,
            current_operation(input.origin),
            reason=input.text,
            cause=input.reason,
            unreachable=input.unreachable,
            found=found,
            absent=found is None,
        )


def _observation(
    found: MachineAtProvider, input: DestroyMachineInput, answer: Answer | None
) -> MachineObservation | None:
    """Return what the breaker learns from an answer; None without one."""
    if answer is None:
        return None
    return MachineObservation(
        key=found.key,
        provider=found.provider,
        region=found.region,
        track=input.track,
        observed_at=answer.at,
        reached=answer.fault_kind is None or not means_unreachable(answer.fault_kind),
    )


def _has_passed(span: timedelta, since: float) -> bool:
    return time.monotonic() - since >= span.total_seconds()
