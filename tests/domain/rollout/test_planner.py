"""Plans of rollouts and cuts into waves, for any fleet, exclusions and freezes."""

from hypothesis import given
from hypothesis import strategies as st

from relight.domain.hold import Selector
from relight.domain.rollout.plan import LeftOut, Stratum
from relight.domain.rollout.planner import (
    cut_waves,
    late_joiners,
    plan_rollout,
    spread,
    strata_of,
    widen,
)
from relight.domain.rollout.strategy import CanaryRule, Strategy
from relight.domain.route import Route, RouteStatus
from tests.domain.fleets import (
    HOUR,
    NOW,
    exclusion,
    exclusions,
    fleets,
    freeze,
    freezes,
    growing_sizes,
    many,
    route,
    serving_fleets,
    shuffled,
    wave_sizes,
)

strategies = st.builds(Strategy, waves=growing_sizes, canary=st.sampled_from(CanaryRule))
BY_STRATA = Strategy(waves=("1", "50%"), canary=CanaryRule.STRATA)


@given(fleets, strategies, exclusions, freezes)
def test_every_route_is_in_exactly_one_wave_or_left_out(fleet, strategy, exclusions, freezes):
    plan = plan_rollout(fleet, strategy, exclusions, freezes, NOW)
    planned = [route_id for wave in plan.waves for route_id in wave]
    planned += [left.route_id for left in plan.left_out]
    assert sorted(planned) == sorted(each.route_id for each in fleet)
    assert all(plan.waves)


@given(fleets, strategies, exclusions, freezes, st.randoms())
def test_the_plan_does_not_depend_on_the_order_of_the_input(
    fleet, strategy, exclusions, freezes, random
):
    plan = plan_rollout(fleet, strategy, exclusions, freezes, NOW)
    fleet, exclusions, freezes = (shuffled(each, random) for each in (fleet, exclusions, freezes))
    assert plan_rollout(fleet, strategy, exclusions, freezes, NOW) == plan


@given(fleets, growing_sizes, exclusions, freezes)
def test_a_canary_by_strata_covers_each_stratum_of_the_waves(fleet, sizes, exclusions, freezes):
    strategy = Strategy(waves=sizes, canary=CanaryRule.STRATA)
    plan = plan_rollout(fleet, strategy, exclusions, freezes, NOW)
    planned = {route_id for wave in plan.waves for route_id in wave}
    canary = set(plan.waves[0]) if plan.waves else set()
    present = strata_of(each for each in fleet if each.route_id in planned)
    assert strata_of(each for each in fleet if each.route_id in canary) == present
    assert (plan.strata, plan.unmet_strata) == (present, ())


@given(fleets, strategies, exclusions)
def test_a_route_that_is_left_out_is_excluded_or_has_no_machine(fleet, strategy, exclusions):
    by_id = {each.route_id: each for each in fleet}
    for left in plan_rollout(fleet, strategy, exclusions, (), NOW).left_out:
        assert left.reason
        if left.owner is None:
            assert by_id[left.route_id].machine is None
        else:
            assert left.expires_at is not None
            assert left.expires_at > NOW


@given(fleets, growing_sizes)
def test_a_plan_by_size_without_holds_is_the_plain_cut(fleet, sizes):
    machines = [each for each in fleet if each.machine]
    plan = plan_rollout(machines, Strategy(waves=sizes), (), (), NOW)
    assert plan.waves == cut_waves(spread(machines), sizes)


@given(fleets, strategies, exclusions, freezes)
def test_frozen_routes_come_last_after_the_canary(fleet, strategy, exclusions, freezes):
    plan = plan_rollout(fleet, strategy, exclusions, freezes, NOW)
    frozen = {each.route_id for each in plan.frozen}
    later = [route_id in frozen for wave in plan.waves[1:] for route_id in wave]
    assert later == sorted(later)
    assert all(each.thaws_at > NOW for each in plan.frozen)


def test_a_canary_covers_each_provider_architecture_and_track():
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


def test_a_canary_by_size_lists_the_strata_that_it_does_not_cover():
    fleet = [route("a", provider="linode"), route("b", provider="oci")]
    plan = plan_rollout(fleet, Strategy(waves=("1",)), (), (), NOW)
    assert [each.provider for each in plan.unmet_strata] == ["oci"]


def test_a_canary_prefers_serving_routes_that_are_not_frozen():
    fleet = [route("a"), route("b", status=RouteStatus.FAULTED), route("c")]
    frozen = freeze(-HOUR, HOUR, Selector(route_id="a"))
    assert plan_rollout(fleet, BY_STRATA, (), [frozen], NOW).waves[0] == ("c",)


def test_frozen_routes_come_last_in_the_order_of_the_plan():
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


def test_an_excluded_route_is_listed_with_reason_owner_and_expiry():
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


def test_a_route_without_a_machine_is_left_out_with_a_reason():
    fleet = [route("a", architecture=None, status=RouteStatus.PROVISIONING), route("b")]
    plan = plan_rollout(fleet, Strategy(), (), (), NOW)
    assert plan.left_out == (
        LeftOut(route_id="a", reason="it is provisioning, and has no machine to change"),
    )


def test_a_completely_excluded_scope_has_no_waves():
    held = exclusion(Selector(track="stable"))
    assert plan_rollout([route("a")], BY_STRATA, [held], (), NOW).waves == ()


def test_new_and_no_longer_excluded_routes_join_late():
    held = exclusion(Selector(route_id="b"))
    newcomers = [route("b"), route("c"), route("d")]
    assert late_joiners(newcomers, [held], NOW) == ("c", "d")
    assert late_joiners(newcomers, [held], NOW + HOUR) == ("b", "c", "d")
    assert late_joiners([route("b"), route("c", architecture=None)], [held], NOW) == ()


@given(fleets, fleets, exclusions)
def test_a_plan_with_its_late_joiners_has_the_routes_of_a_new_plan(before, after, exclusions):
    known = {each.route_id for each in before}
    fleet = [*before, *(each for each in after if each.route_id not in known)]
    plan = plan_rollout(before, Strategy(), exclusions, (), NOW)
    again = plan_rollout(fleet, Strategy(), exclusions, (), NOW)
    reached = [route_id for wave in plan.waves for route_id in wave]
    newcomers = [each for each in fleet if each.route_id not in reached]
    reached += late_joiners(newcomers, exclusions, NOW)
    assert sorted(reached) == sorted(route_id for wave in again.waves for route_id in wave)


@given(serving_fleets, wave_sizes)
def test_a_cut_puts_every_route_in_exactly_one_wave(fleet, sizes):
    waves = cut_waves(spread(fleet), sizes)
    assert sorted(route_id for wave in waves for route_id in wave) == sorted(
        route.route_id for route in fleet
    )
    assert all(waves)


@given(serving_fleets, wave_sizes, st.randoms())
def test_a_cut_does_not_depend_on_the_order_of_the_routes(fleet, sizes, random):
    assert cut_waves(spread(shuffled(fleet, random)), sizes) == cut_waves(spread(fleet), sizes)


@given(serving_fleets)
def test_a_canary_with_as_many_routes_as_locations_covers_every_location(fleet):
    by_id = {route.route_id: route for route in fleet}
    locations = {(route.track, route.provider, route.region) for route in fleet}
    canary = cut_waves(spread(fleet), [str(len(locations))])[0]
    covered = {(by_id[i].track, by_id[i].provider, by_id[i].region) for i in canary}
    assert covered == locations


def test_sizes_count_the_routes_that_are_changed_when_the_wave_ends():
    fleet = [
        Route(
            route_id=f"r{number}",
            track="stable",
            provider="lab",
            region="east",
            status=RouteStatus.SERVING,
        )
        for number in range(8)
    ]
    waves = cut_waves(spread(fleet), ["1", "50%"])
    assert waves == (("r0",), ("r1", "r2", "r3"), ("r4", "r5", "r6", "r7"))


def test_widening_takes_the_first_routes_of_the_next_wave():
    waves = (("a",), ("b", "c", "d"), ("e",))
    assert widen(waves, taken=1, by=2) == (("a",), ("b", "c"), ("d",), ("e",))


def test_widening_never_starts_routes_earlier_than_planned():
    waves = (("a",), ("b", "c"), ("d",))
    assert widen(waves, taken=1, by=2) == waves
    assert widen(waves, taken=3, by=2) == waves


@given(serving_fleets, wave_sizes, st.integers(0, 6), st.integers(1, 30))
def test_widening_keeps_every_route_and_its_order(fleet, sizes, taken, by):
    waves = cut_waves(spread(fleet), sizes)
    widened = widen(waves, taken, by)
    assert [i for wave in widened for i in wave] == [i for wave in waves for i in wave]
    assert widened[:taken] == waves[:taken]
    assert all(widened)
