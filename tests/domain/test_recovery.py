"""Which release a rollback installs, and which one a new machine gets."""

import pytest

from relight.domain.recovery import (
    NoPreviousReleaseError,
    ReleaseEvent,
    ReleaseEventKind,
    is_recovery,
    known_good,
    previous_release,
    release_history,
    rollback_release,
)
from relight.domain.route import Route, RouteStatus
from relight.domain.track import DesiredRelease

KINDS = {
    "+": ReleaseEventKind.PROVEN,
    ">": ReleaseEventKind.TRIED,
    "!": ReleaseEventKind.FAILED,
}


def history(*events: str):
    """Return the history of events such as `+73`, `>76` and `!76`, on one machine."""
    return release_history(ReleaseEvent(KINDS[each[0]], f"v0.0.{each[1:]}", "r") for each in events)


def route(current: str | None, target: str | None = None, status: str = "serving") -> Route:
    return Route(
        route_id="eu-1",
        track="stable",
        provider="lab",
        region="east",
        status=RouteStatus(status),
        current_release_tag=current,
        target_release_tag=target or current,
    )


def faulted(current: str, target: str) -> Route:
    return route(current, target, "faulted")


MOVED_ON = ("+73", ">74", "+74")


@pytest.mark.parametrize(
    ("target", "events"),
    [
        ("v0.0.76", (">76", "!76")),
        ("v0.0.76", (">76",)),  # Its host could not be reached.
        ("v0.0.76", (">76", "!76", ">76", "!76")),
        ("v0.0.74", (">76", "!76", ">74")),  # The way back was cut short.
        ("v0.0.74", (">76", "!76", ">74", "!74")),
        ("v0.0.78", (">76", "!76", ">78", "!78")),
    ],
)
def test_a_failed_route_goes_back_to_its_last_proof_whatever_was_tried_since(target, events):
    found = history(*MOVED_ON, *events)
    assert rollback_release(faulted("v0.0.74", target), found, frozenset()) == "v0.0.74"


def test_a_swap_that_was_terminated_leaves_the_route_unproven_too():
    found = history(*MOVED_ON, ">76")
    assert rollback_release(route("v0.0.74", "v0.0.76"), found, frozenset()) == "v0.0.74"


def test_a_healthy_proven_route_goes_to_the_release_before():
    assert rollback_release(route("v0.0.74"), history(*MOVED_ON), frozenset()) == "v0.0.73"


def test_a_second_rollback_of_a_healthy_route_returns_to_the_first_release():
    found = history(*MOVED_ON, ">73", "+73")
    assert rollback_release(route("v0.0.73"), found, frozenset()) == "v0.0.74"


def test_a_route_that_is_back_from_a_failed_release_stays_and_says_how_to_go_further():
    found = history(*MOVED_ON, ">76", "!76", ">74", "+74")
    with pytest.raises(NoPreviousReleaseError) as refused:
        rollback_release(route("v0.0.74"), found, frozenset())
    assert "is back at v0.0.74 from v0.0.76" in str(refused.value)
    assert "`relight route swap eu-1 v0.0.73 --allow-downgrade`" in str(refused.value)


def test_a_route_that_moved_on_after_a_failed_release_can_go_back():
    found = history("+73", ">75", "!75", ">78", "+78")
    assert rollback_release(route("v0.0.78"), found, frozenset()) == "v0.0.73"


def test_a_route_whose_proven_release_failed_later_goes_to_the_one_before():
    found = history(*MOVED_ON, "!74")
    assert rollback_release(faulted("v0.0.74", "v0.0.74"), found, frozenset()) == "v0.0.73"


def test_a_fault_of_another_machine_withdraws_no_proof():
    spare = ReleaseEvent(ReleaseEventKind.FAILED, "v0.0.74", "pool-1")
    proof = ReleaseEvent(ReleaseEventKind.PROVEN, "v0.0.74", "r")
    assert release_history([proof, spare]).withdrawn == frozenset()
    assert release_history([proof, spare._replace(machine_key="r")]).withdrawn == {"v0.0.74"}


def test_no_rollback_goes_to_a_release_that_was_given_up():
    found = history(*MOVED_ON, ">78", "+78")
    assert rollback_release(route("v0.0.78"), found, {"v0.0.78"}) == "v0.0.74"
    with pytest.raises(NoPreviousReleaseError, match=r"back at v0\.0\.74 from v0\.0\.78"):
        rollback_release(
            route("v0.0.74"), history(*MOVED_ON, ">78", "+78", ">74", "+74"), {"v0.0.78"}
        )


@pytest.mark.parametrize("events", [(), ("+73",)])
def test_without_a_previous_release_a_rollback_is_refused_and_names_the_route(events):
    with pytest.raises(NoPreviousReleaseError, match="eu-1 was never proven at a release other"):
        rollback_release(route("v0.0.73"), history(*events), frozenset())


def test_only_a_failed_route_recovers_and_only_at_a_release_that_it_was_proven_at():
    found = history(*MOVED_ON, ">76", "!76")
    assert is_recovery(faulted("v0.0.74", "v0.0.76"), "v0.0.74", found)
    assert is_recovery(faulted("v0.0.74", "v0.0.76"), "v0.0.73", found)
    assert not is_recovery(faulted("v0.0.74", "v0.0.76"), "v0.0.75", found)
    assert not is_recovery(route("v0.0.76"), "v0.0.74", found)


def chosen(wanted: str, *events: str, given_up=frozenset(), declared="v0.0.73"):
    asked = DesiredRelease(tag=wanted, declared_by="route eu-1")
    return known_good(asked, history(*events), given_up, declared)


def test_a_new_machine_gets_what_its_route_should_run():
    assert chosen("v0.0.76", *MOVED_ON, ">76") == DesiredRelease(
        tag="v0.0.76", declared_by="route eu-1"
    )
    assert chosen("v0.0.74", *MOVED_ON, ">76", "!76", ">74", "!74").instead_of is None


def test_a_new_machine_never_gets_a_release_that_failed_on_its_route():
    found = chosen("v0.0.76", *MOVED_ON, ">76", "!76")
    assert (found.tag, found.instead_of) == ("v0.0.74", "v0.0.76")
    assert found.reason == "v0.0.76 failed on this route"


def test_a_new_machine_never_gets_a_release_that_was_given_up():
    found = chosen("v0.0.78", *MOVED_ON, ">78", "+78", given_up={"v0.0.78"})
    assert (found.tag, found.instead_of) == ("v0.0.74", "v0.0.78")
    assert chosen("v0.0.78", given_up={"v0.0.78"}, declared="v0.0.74").tag == "v0.0.74"


def test_the_release_from_before_one_is_the_last_other_that_was_proven():
    assert previous_release(history(*MOVED_ON, "+76"), "v0.0.76") == "v0.0.74"
    assert previous_release(history("+76"), "v0.0.76") is None
