"""A plan, whatever the fleet, the exclusions and the freezes."""

from hypothesis import given
from hypothesis import strategies as st

from relight.domain.hold import Selector
from relight.domain.rollout.plan import LeftOut, Stratum
from relight.domain.rollout.planner import cut, late_joiners, plan_rollout, spread, strata_of
from relight.domain.rollout.rollout import CanaryRule, Strategy
from relight.domain.route import RouteStatus
from tests.domain.fleets import (
    HOUR,
    NOW,
    exclusion,
    exclusions,
    fleets,
    freeze,
    freezes,
    many,
    route,
    wave_sizes,
)

strategies = st.builds(Strategy, waves=wave_sizes, canary=st.sampled_from(CanaryRule))
BY_STRATA = Strategy(waves=("1", "50%"), canary=CanaryRule.STRATA)


@given(fleets, strategies, exclusions, freezes)
def test_every_route_is_there_once_in_a_wave_or_left_out(fleet, strategy, exclusions, freezes):
    plan = plan_rollout(fleet, strategy, exclusions, freezes, NOW)
    there = [route_id for wave in plan.waves for route_id in wave]
    there += [left.route_id for left in plan.left_out]
    assert sorted(there) == sorted(each.route_id for each in fleet)
    assert all(plan.waves)


@given(fleets, strategies, exclusions, freezes, st.randoms())
def test_the_order_in_which_anything_is_listed_changes_nothing(
    fleet, strategy, exclusions, freezes, random
):
    plan = plan_rollout(fleet, strategy, exclusions, freezes, NOW)
    for listed in (fleet, exclusions, freezes):
        random.shuffle(listed)
    assert plan_rollout(fleet, strategy, exclusions, freezes, NOW) == plan


@given(fleets, wave_sizes, exclusions, freezes)
def test_a_canary_by_strata_meets_each_stratum_of_the_waves(fleet, sizes, exclusions, freezes):
    strategy = Strategy(waves=sizes, canary=CanaryRule.STRATA)
    plan = plan_rollout(fleet, strategy, exclusions, freezes, NOW)
    planned = {route_id for wave in plan.waves for route_id in wave}
    canary = set(plan.waves[0]) if plan.waves else set()
    present = strata_of(each for each in fleet if each.route_id in planned)
    assert strata_of(each for each in fleet if each.route_id in canary) == present
    assert (plan.strata, plan.unmet_strata) == (present, ())


@given(fleets, strategies, exclusions)
def test_what_is_left_out_is_told_with_its_owner_or_has_no_machine(fleet, strategy, exclusions):
    by_id = {each.route_id: each for each in fleet}
    for left in plan_rollout(fleet, strategy, exclusions, (), NOW).left_out:
        assert left.reason
        if left.owner is None:
            assert by_id[left.route_id].machine is None
        else:
            assert left.expires_at is not None
            assert left.expires_at > NOW


@given(fleets, wave_sizes)
def test_a_plan_by_size_with_nothing_in_its_way_is_the_waves_of_today(fleet, sizes):
    machines = [each for each in fleet if each.machine]
    plan = plan_rollout(machines, Strategy(waves=sizes), (), (), NOW)
    assert plan.waves == cut(spread(machines), sizes)


@given(fleets, strategies, exclusions, freezes)
def test_frozen_routes_wait_in_their_waves_and_go_last_after_the_canary(
    fleet, strategy, exclusions, freezes
):
    plan = plan_rollout(fleet, strategy, exclusions, freezes, NOW)
    frozen = {each.route_id for each in plan.frozen}
    later = [route_id in frozen for wave in plan.waves[1:] for route_id in wave]
    assert later == sorted(later)
    assert all(each.thaws_at > NOW for each in plan.frozen)


def test_a_canary_meets_each_provider_architecture_and_track():
    fleet = [
        *many(10, "a", provider="linode", track="stable"),
        *many(10, "b", provider="oci", track="stable", architecture="arm64"),
        *many(10, "c", provider="oci", track="beta"),
    ]
    plan = plan_rollout(fleet, BY_STRATA, (), (), NOW)
    assert plan.waves[0] == ("a00000", "b00000", "c00000")
    assert [len(wave) for wave in plan.waves] == [3, 12, 15]
    assert plan.strata == (
        Stratum(provider="linode", architecture="amd64", track="stable"),
        Stratum(provider="oci", architecture="amd64", track="beta"),
        Stratum(provider="oci", architecture="arm64", track="stable"),
    )


def test_a_canary_by_size_says_what_it_does_not_meet():
    fleet = [route("a", provider="linode"), route("b", provider="oci")]
    plan = plan_rollout(fleet, Strategy(waves=("1",)), (), (), NOW)
    assert [each.provider for each in plan.unmet_strata] == ["oci"]


def test_a_canary_is_a_route_that_serves_and_is_not_frozen_where_there_is_one():
    fleet = [route("a"), route("b", status=RouteStatus.FAULTED), route("c")]
    frozen = freeze(-HOUR, HOUR, Selector(route_id="a"))
    assert plan_rollout(fleet, BY_STRATA, (), [frozen], NOW).waves[0] == ("c",)


def test_after_the_canary_what_is_frozen_goes_last():
    fleet = [*many(3, "a", track="beta"), *many(3, "b", track="stable")]
    frozen = freeze(-HOUR, HOUR, Selector(track="beta"))
    plan = plan_rollout(fleet, BY_STRATA, (), [frozen], NOW)
    assert plan.waves == (
        ("a00000", "b00000"),
        ("b00001",),
        ("b00002", "a00001", "a00002"),
    )
    assert [each.route_id for each in plan.frozen] == ["a00000", "a00001", "a00002"]
    assert {(each.owner, each.thaws_at) for each in plan.frozen} == {("ann", NOW + HOUR)}


def test_an_exclusion_is_told_with_its_reason_owner_and_expiry():
    pin = exclusion(Selector(route_id="a"), owner="bob", pinned_to="v0.0.73")
    plan = plan_rollout([route("a"), route("b")], Strategy(), [pin], (), NOW)
    assert plan.waves == (("b",),)
    assert plan.left_out == (
        LeftOut(
            route_id="a",
            reason="a customer debugs on it",
            owner="bob",
            expires_at=NOW + HOUR,
            pinned_to="v0.0.73",
        ),
    )


def test_a_route_without_a_machine_is_left_out_and_says_so():
    fleet = [route("a", architecture=None, status=RouteStatus.PROVISIONING), route("b")]
    plan = plan_rollout(fleet, Strategy(), (), (), NOW)
    assert plan.left_out == (
        LeftOut(route_id="a", reason="it is provisioning, and has no machine to change"),
    )


def test_a_scope_of_which_nothing_is_left_has_no_waves():
    held = exclusion(Selector(track="stable"))
    assert plan_rollout([route("a")], BY_STRATA, [held], (), NOW).waves == ()


def test_who_comes_later_joins_late():
    held = exclusion(Selector(route_id="b"))
    newcomers = [route("b"), route("c"), route("d")]
    assert late_joiners(newcomers, [held], NOW) == ("c", "d")
    assert late_joiners(newcomers, [held], NOW + HOUR) == ("b", "c", "d")
    assert late_joiners([route("b"), route("c", architecture=None)], [held], NOW) == ()


@given(fleets, fleets, exclusions)
def test_with_its_late_joiners_a_plan_has_all_that_it_would_have_now(before, after, exclusions):
    known = {each.route_id for each in before}
    fleet = [*before, *(each for each in after if each.route_id not in known)]
    plan = plan_rollout(before, Strategy(), exclusions, (), NOW)
    again = plan_rollout(fleet, Strategy(), exclusions, (), NOW)
    reached = [route_id for wave in plan.waves for route_id in wave]
    newcomers = [each for each in fleet if each.route_id not in reached]
    reached += late_joiners(newcomers, exclusions, NOW)
    assert sorted(reached) == sorted(route_id for wave in again.waves for route_id in wave)
