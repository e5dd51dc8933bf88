"""All records that a destruction is decided by are read in the transaction that begins it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activities.machine.destruction import MachineNotOursError
from devkit.chaos.provider_faults import Call
from relight.domain.destruction import DestructionReason, Refusal, RefusedBy
from relight.store.destructions import Destructions
from tests.store.sql import execute
from tests.workflows.gates import Gate, drained

pytestmark = pytest.mark.attack("every destroyer, with the limits that ship")

Before = Callable[[Callable[[], object]], None]


@pytest.fixture
def just_before(monkeypatch: pytest.MonkeyPatch) -> Before:
    """Return what lets a change happen when all was asked, and the transaction begins next."""

    def happens(change: Callable[[], object]) -> None:
        begin = Destructions.begin

        def after_change(*args: Any) -> Refusal | None:
            change()
            return begin(*args)

        monkeypatch.setattr(Destructions, "begin", after_change)

    return happens


async def test_a_machine_that_became_another_on_record_is_not_destroyed(
    gate: Gate, just_before: Before, tmp_path: Path
) -> None:
    key = await drained(gate, requested=True)
    other = f"UPDATE machines SET provider_id = 'another' WHERE key = '{key}'"
    just_before(lambda: execute(f"sqlite:///{tmp_path / 'fleet.db'}", other))
    with pytest.raises(MachineNotOursError, match="on record is another"):
        await gate.ask(key, DestructionReason.REQUESTED)
    assert Call.DESTROY not in gate.harness.cloud.provider_faults.calls
    assert gate.harness.events(kind="destruction-begun") == []


async def test_a_spare_machine_that_is_in_doubt_by_now_is_not_destroyed(
    gate: Gate, just_before: Before, tmp_path: Path
) -> None:
    """A route has a machine on record, since a moment ago, that the provider does not list."""
    harness = gate.harness
    aged, _ = await harness.pool_machine(), await harness.pool_machine()
    harness.store.pool_sizes.set("fake", "fake-east", 1, harness.operation())
    route_id = await harness.serving_route()
    url, lost = f"sqlite:///{tmp_path / 'fleet.db'}", f"{route_id}-g7"

    def replaced() -> None:
        where = f"WHERE key = '{route_id}-g1'"
        execute(url, f"UPDATE machines SET key = '{lost}', provider_id = 'x' {where}")
        execute(url, f"UPDATE routes SET machine_key = '{lost}' WHERE route_id = '{route_id}'")

    just_before(replaced)
    refusal = (await gate.ask(aged, DestructionReason.RECYCLED)).refusal
    assert refusal is not None
    assert refusal.by is RefusedBy.DOUBT
    assert f"fake has no machine {lost}" in refusal.why
    assert Call.DESTROY not in harness.cloud.provider_faults.calls


async def test_a_machine_that_a_person_keeps_by_now_is_not_destroyed(
    gate: Gate, just_before: Before
) -> None:
    """The word that asked for its end is older; a later one ends what keeps it."""
    store, operation = gate.harness.store, gate.harness.operation
    key = await drained(gate, requested=True)
    just_before(lambda: store.kept_machines.keep(key, operation(), is_removed=True))
    refusal = (await gate.ask(key, DestructionReason.REQUESTED)).refusal
    assert refusal is not None
    assert refusal.by is RefusedBy.KEPT
    assert f"`relight machine remove {key}`" in refusal.why
    assert Call.DESTROY not in gate.harness.cloud.provider_faults.calls
    just_before(lambda: store.destruction_evidence.request_removal(key, operation()))
    assert await gate.refused_by(key, DestructionReason.REQUESTED) is not RefusedBy.KEPT
