"""Which release a route goes back to."""

import pytest

from relight.domain.release import NoReleaseBeforeError, release_before


def test_a_route_that_failed_on_its_way_goes_back_to_what_it_was_proven_at():
    assert release_before("eu-1", "v0.0.76", ["v0.0.73", "v0.0.74"]) == "v0.0.74"


def test_a_route_that_arrived_goes_back_to_what_it_ran_before():
    proven = ["v0.0.73", "v0.0.74", "v0.0.74"]
    assert release_before("eu-1", "v0.0.74", proven) == "v0.0.73"


def test_going_back_twice_goes_forth_again():
    proven = ["v0.0.73", "v0.0.74", "v0.0.73"]
    assert release_before("eu-1", "v0.0.73", proven) == "v0.0.74"


@pytest.mark.parametrize("proven", [[], ["v0.0.73"]])
def test_with_nothing_to_go_back_to_it_refuses_and_names_the_route(proven):
    with pytest.raises(NoReleaseBeforeError, match="eu-1"):
        release_before("eu-1", "v0.0.73", proven)
