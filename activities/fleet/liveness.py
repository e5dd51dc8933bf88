"""Liveness of all machines, page by page in the order of their keys."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import structlog

from activities import policies
from relight.connectivity import ConnectivityCheck, run_all
from relight.domain import names
from relight.domain.breaker.breaker import ConnectivityResult
from relight.domain.liveness import (
    MachinesProbed,
    MachineToProbe,
    ProbeMachinesInput,
    ProbeResult,
    RecordLivenessCheckInput,
    change_of,
    silent_since,
)
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.hosts.liveness import LivenessProbe
from relight.store.store import Store
from relight.store.threads import in_thread

MACHINES_PER_PAGE = 2000
"""Machines probed by one activity, which has three events in the history."""

MAX_CONCURRENT = 600
"""How many machines are probed at the same time, by default. Each takes one socket."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.liveness")


class LivenessActivities:
    """Probes machines, and records those that fell silent or answer again."""

    def __init__(
        self,
        store: Store,
        probe: LivenessProbe,
        connectivity: Sequence[ConnectivityCheck],
        max_concurrent: int = MAX_CONCURRENT,
    ) -> None:
        self._store = store
        self._probe = probe
        self._connectivity = connectivity
        self._max_concurrent = max_concurrent

    @step(policies.PROBE_MACHINES, lambda i: f"after {i.after}" if i.after else "the first ones")
    async def probe_machines(self, input: ProbeMachinesInput) -> MachinesProbed:
        """Probe the next page of machines.

        One that did not fall silent before is probed twice, and the control plane must be online
        before and after the second time: otherwise nothing is recorded as silent.
        """
        machines = await in_thread(self._store.liveness.page, input.after, MACHINES_PER_PAGE)
        results = await self._probe_all(machines)
        now = datetime.now(UTC)
        fell_silent = [
            machine
            for machine in machines
            if results[machine.key] is ProbeResult.SILENT and silent_since(machine, now) is None
        ]
        offline = await self._probe_again(fell_silent, results) if fell_silent else ""
        return await in_thread(self._record, machines, results, offline)

    @step(policies.STORE, lambda _: "")
    def record_liveness_check(self, input: RecordLivenessCheckInput) -> Recorded:
        """Record that a check has ended."""
        self._store.liveness.record_check(input.check)
        return Recorded()

    async def _probe_all(self, machines: Sequence[MachineToProbe]) -> dict[str, ProbeResult]:
        """Probe each machine once; return the results by their keys."""
        slots = asyncio.Semaphore(self._max_concurrent)

        async def probe(machine: MachineToProbe) -> ProbeResult:
            async with slots:
                return await self._probe(machine.key, machine.address)

        results = await asyncio.gather(*map(probe, machines))
        return {machine.key: result for machine, result in zip(machines, results, strict=True)}

    async def _probe_again(
        self, machines: Sequence[MachineToProbe], results: dict[str, ProbeResult]
    ) -> str:
        """Probe machines again and add the results; return why these say nothing, else nothing."""
        before = await self._connect()
        if offline := _offline(before):
            return offline
        results |= await self._probe_all(machines)
        if all(results[machine.key] is not ProbeResult.SILENT for machine in machines):
            return ""
        return _offline(await self._connect())

    async def _connect(self) -> tuple[ConnectivityResult, ...]:
        results = await run_all(self._connectivity)
        await in_thread(self._store.breaker.record_connectivity, results)
        return results

    def _record(
        self, machines: Sequence[MachineToProbe], results: Mapping[str, ProbeResult], offline: str
    ) -> MachinesProbed:
        now, changes, changed, unverified = datetime.now(UTC), [], 0, 0
        for machine in machines:
            result, silent = results[machine.key], silent_since(machine, now) is not None
            change = change_of(machine, result, now)
            if change is not None and not change.answers and offline:
                continue
            if change is not None:
                changes.append(change)
                silent = not change.answers
                if silent or (machine.known is not None and not machine.known.answers):
                    changed += 1
                    _log(machine, result)
            unverified += silent and machine.serving
        self._store.liveness.record(changes)
        counts = Counter(results.values())
        return MachinesProbed(
            last=machines[-1].key if len(machines) == MACHINES_PER_PAGE else None,
            machines=len(machines),
            silent=counts[ProbeResult.SILENT],
            not_probed=counts[ProbeResult.NOT_PROBED],
            offline=offline,
            changed=changed,
            unverified=unverified,
        )


def _offline(results: Sequence[ConnectivityResult]) -> str:
    """Return why the control plane counts as offline; empty if it is online."""
    if any(each.reached for each in results):
        return ""
    checks = ", ".join(sorted(each.name for each in results)) or "there is none"
    return f"no connectivity check of the control plane succeeded ({checks})"


def _log(machine: MachineToProbe, result: ProbeResult) -> None:
    attributes = {names.LOG_HOST: machine.key, names.LOG_ADDRESS: machine.address}
    if machine.route_id is not None:
        attributes[names.LOG_ROUTE] = machine.route_id
    if result is ProbeResult.SILENT:
        log.warning("the machine has fallen silent", **attributes)
    else:
        log.info("the machine answers again", **attributes)
