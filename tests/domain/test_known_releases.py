"""What brings a release that nobody has is left alone, and nothing else."""

from relight.domain.pool.pool import PoolAction, PoolStep
from relight.domain.reconcile.plan import (
    Action,
    ActionKind,
    LeftAlone,
    ReconcilePlan,
    about_of,
    leave_unknown,
    releases_brought,
)

WHY = {"v9.9.9": "there is no release v9.9.9"}


def action(kind: ActionKind, tag: str | None, **what) -> Action:
    return Action(kind=kind, reason="it is so", release_tag=tag, **what)


def pool(step: PoolStep, tag: str) -> Action:
    about = PoolAction(step=step, provider="lab", region="east", reason="x", release_tag=tag)
    return action(ActionKind.POOL, tag, pool=about)


PLAN = ReconcilePlan(
    actions=(
        action(ActionKind.SWAP, "v9.9.9", route_id="a"),
        action(ActionKind.REPAIR, "v0.0.73", route_id="b"),
        action(ActionKind.START_ROLLOUT, "v9.9.9", scope="fleet"),
        action(ActionKind.PROVE, "v9.9.9", route_id="c"),
        pool(PoolStep.CREATE, "v9.9.9"),
        pool(PoolStep.RECYCLE, "v9.9.9"),
    ),
    left_alone=(LeftAlone(about="route z", reason="it is held"),),
    left_alone_count=1,
)


def test_what_a_plan_brings_is_known():
    assert releases_brought(PLAN) == {"v9.9.9", "v0.0.73"}


def test_what_cannot_be_had_is_told_and_not_done():
    plan = leave_unknown(PLAN, WHY, 100)
    assert [each.kind for each in plan.actions] == ["repair", "prove", "pool"]
    assert [(each.about, each.reason) for each in plan.left_alone] == [
        ("pool lab/east", "it is so, but there is no release v9.9.9"),
        ("route a", "it is so, but there is no release v9.9.9"),
        ("route z", "it is held"),
        ("scope fleet", "it is so, but there is no release v9.9.9"),
    ]
    assert plan.left_alone_count == 4


def test_no_more_is_told_than_may_be_and_all_is_counted():
    plan = leave_unknown(PLAN, WHY, 1)
    assert (len(plan.left_alone), plan.left_alone_count) == (1, 4)


def test_where_all_can_be_had_the_plan_stays_as_it_is():
    assert leave_unknown(PLAN, {}, 100) == PLAN


def test_each_action_is_about_something():
    assert [about_of(each) for each in PLAN.actions[:3]] == ["route a", "route b", "scope fleet"]
