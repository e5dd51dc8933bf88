"""How much of each limit is used, and when some of it is free."""

from dataclasses import replace
from datetime import datetime, timedelta

from relight.domain.breaker.breaker import Breaker, BreakerLimits, Destruction
from relight.domain.destruction import HOUR, Allowance
from relight.domain.disruption import DisruptionBudget, take_census
from relight.domain.limit_use import LimitKind, LimitUse, destruction_uses, disruption_uses
from relight.domain.route import RouteStatus
from tests.domain.fleets import NOW, many, route

MINUTE = timedelta(minutes=1)
LIMITS = BreakerLimits(destroyed_per_hour=3, destroyed_per_hour_in_region=2)


def destroyed(region: str, *ago: timedelta) -> list[Destruction]:
    return [Destruction(at=NOW - each, provider="lab", region=region) for each in ago]


def use(group: str, used: int, limit: int, frees_at: datetime | None = None) -> LimitUse:
    return LimitUse(
        kind=LimitKind.DESTROYED,
        group=group,
        used=used,
        limit=limit,
        frees_at=frees_at,
        frees=f"at {frees_at:%H:%M} UTC" if frees_at else "",
    )


def test_without_destructions_nothing_of_the_fleets_limit_is_used():
    assert destruction_uses(destroyed("east", HOUR), LIMITS, NOW) == (use("fleet", 0, 3),)


def test_each_limit_says_when_the_oldest_destruction_no_longer_counts():
    found = destruction_uses(
        [*destroyed("east", 50 * MINUTE), *destroyed("west", 40 * MINUTE, 5 * MINUTE)], LIMITS, NOW
    )
    assert found == (
        use("fleet", 3, 3, NOW + 10 * MINUTE),
        use("region lab/east", 1, 2, NOW + 10 * MINUTE),
        use("region lab/west", 2, 2, NOW + 20 * MINUTE),
    )


def test_beyond_its_limit_it_says_when_the_gate_lets_the_next_one_through():
    """An override or an older limit may have let more through."""
    destructions = destroyed("east", 50 * MINUTE, 40 * MINUTE, 30 * MINUTE)
    _, region = destruction_uses(destructions, LIMITS, NOW)
    assert region == use("region lab/east", 3, 2, NOW + 20 * MINUTE)
    allowance = Allowance(Breaker(), destructions, LIMITS, NOW)
    assert region.frees in (allowance.why_not("lab", "east") or "")


def test_a_limit_of_zero_never_frees_anything():
    none = BreakerLimits(destroyed_per_hour=0)
    assert destruction_uses(destroyed("east", MINUTE), none, NOW)[0] == use("fleet", 1, 0)


def test_each_group_that_the_budget_limits_has_its_routes_that_are_out():
    fleet = [*many(19), route("faulted", status=RouteStatus.FAULTED)]
    census = take_census(fleet)
    census = replace(census, out=census.out | {"r00003"})
    found = disruption_uses(census, DisruptionBudget(region="10%", track="7"))
    assert [(each.group, each.used, each.limit) for each in found] == [
        ("region linode/east", 2, 2),
        ("track stable", 2, 7),
    ]
    assert found[0].frees == "when faulted or one of 1 more is proven again"
    assert found[0].frees_at is None


def test_nothing_out_has_nothing_that_frees():
    [only] = disruption_uses(take_census(many(3)), DisruptionBudget(provider="1"))
    assert (only.group, only.used, only.limit, only.frees) == ("provider linode", 0, 1, "")
