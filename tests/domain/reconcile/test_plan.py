"""Actions that install an unavailable release are removed from a plan, and no others."""

from relight.domain.pool.pool import PoolAction, PoolStep
from relight.domain.reconcile.plan import (
    Action,
    ActionKind,
    LeftAlone,
    ReconcilePlan,
    about_of,
    drop_unavailable,
    required_releases,
)

WHY = {"v9.9.9": "there is no release v9.9.9"}


def action(kind: ActionKind, tag: str | None, **fields) -> Action:
    return Action(kind=kind, reason="it is so", release_tag=tag, **fields)


def pool(step: PoolStep, tag: str) -> Action:
    step_action = PoolAction(step=step, provider="lab", region="east", reason="x", release_tag=tag)
    return action(ActionKind.POOL, tag, pool=step_action)


PLAN = ReconcilePlan(
    actions=(
        action(ActionKind.SWAP, "v9.9.9", route_id="a"),
        action(ActionKind.REPAIR, "v0.0.73", route_id="b"),
        action(ActionKind.START_ROLLOUT, "v9.9.9", scope="fleet"),
        action(ActionKind.VERIFY, "v9.9.9", route_id="c"),
        pool(PoolStep.CREATE, "v9.9.9"),
        pool(PoolStep.RECYCLE, "v9.9.9"),
    ),
    left_alone=(LeftAlone(about="route z", reason="it is held"),),
    left_alone_count=1,
)


def test_the_releases_that_a_plan_installs_are_listed():
    assert required_releases(PLAN) == {"v9.9.9", "v0.0.73"}


def test_unavailable_releases_are_reported_and_not_installed():
    plan = drop_unavailable(PLAN, WHY, 100)
    assert [each.kind for each in plan.actions] == ["repair", "verify", "pool"]
    assert [(each.about, each.reason) for each in plan.left_alone] == [
        ("pool lab/east", "it is so, but there is no release v9.9.9"),
        ("route a", "it is so, but there is no release v9.9.9"),
        ("route z", "it is held"),
        ("scope fleet", "it is so, but there is no release v9.9.9"),
    ]
    assert plan.left_alone_count == 4


def test_reports_are_limited_but_counted_completely():
    plan = drop_unavailable(PLAN, WHY, 1)
    assert (len(plan.left_alone), plan.left_alone_count) == (1, 4)


def test_with_all_releases_available_the_plan_is_unchanged():
    assert drop_unavailable(PLAN, {}, 100) == PLAN


def test_each_action_names_its_object():
    assert [about_of(each) for each in PLAN.actions[:3]] == ["route a", "route b", "scope fleet"]
