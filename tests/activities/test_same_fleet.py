"""Which check a worker makes before an activity: is its Temporal still that of its fleet?"""

import asyncio
import inspect
from collections.abc import Iterator
from datetime import timedelta

import pytest

from activities import parts, same_fleet
from activities.same_fleet import SameFleetInterceptor
from relight.engine.step import Step, is_lasting

NOT_LASTING = """
advance_wave architectures await_admission await_first_boot await_import await_machine
await_operation await_worker_keys begin_proofs begin_remediation begin_replacement begin_roll_back
begin_swap check_contract check_destruction check_gate check_image check_image_rollout
check_new_key check_replacement check_rollout check_vacant choose_image claim_machine
close_operation compare_providers decide_prune describe_region desired_release end_turn
evaluate_breaker find_prune_places find_undo join_late load_route observe_fleet observe_machine
open_rollout plan_pool plan_pool_machine plan_provider plan_replacement_machine plan_rollout
plan_undo preflight prepare_pool_machine previous_release probe_machines prove_release
record_control record_decision record_failed_try record_fault record_image_failure
record_liveness_check record_machine record_pool_fault record_pool_ready record_proof
record_standing record_unbegun release_disruption render_cloud_init resolve_release retry_failed
return_machine save_evidence skip_route take_disruption take_turn verify_routes widen_wave
"""
"""The activities that read, or whose records are mended by what runs later."""


def declared() -> Iterator[tuple[str, bool]]:
    """Yield each activity of a worker, and whether its effect is declared as lasting."""
    for owner in filter(inspect.isclass, vars(parts).values()):
        for name, member in vars(owner).items():
            if isinstance(member, Step):
                yield name, is_lasting(getattr(object.__new__(owner), name))


def test_each_activity_is_one_or_the_other() -> None:
    """Whoever adds one decides: `lasting=True`, or its name in the list above."""
    found = dict(declared())
    assert sorted(name for name, lasting in found.items() if not lasting) == NOT_LASTING.split()
    assert {"prune_store", "destroy_machine", "create_machine", "swap_release"} <= set(found)


class Checks:
    """A Temporal whose answers are counted, and may take until a test lets them come."""

    def __init__(self) -> None:
        self.count = 0
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self) -> None:
        self.count += 1
        self.asked.set()
        await self.answers.wait()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    monkeypatch.setattr(same_fleet, "FRESH", timedelta(hours=1))
    return Checks()


async def test_a_check_holds_unless_one_from_now_on_is_needed(checks: Checks) -> None:
    fleet = SameFleetInterceptor(checks, lambda: None, None)
    counted = []
    for from_now in (False, False, True, True, False):
        await fleet.require_same_fleet(from_now=from_now)
        counted.append(checks.count)
    assert counted == [1, 1, 2, 3, 3]


async def test_what_arrives_during_a_check_shares_the_next(checks: Checks) -> None:
    fleet = SameFleetInterceptor(checks, lambda: None, None)
    checks.answers.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(fleet.require_same_fleet(from_now=True))
        await checks.asked.wait()
        for _ in range(5):
            group.create_task(fleet.require_same_fleet(from_now=True))
        await asyncio.sleep(0)
        checks.answers.set()
    assert checks.count == 2
