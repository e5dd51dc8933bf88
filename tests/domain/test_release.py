"""Which release a rollback installs."""

import pytest

from relight.domain.release import NoPreviousReleaseError, previous_release


def test_a_route_that_failed_to_reach_its_target_goes_back_to_its_last_proof():
    assert previous_release("eu-1", "v0.0.76", ["v0.0.73", "v0.0.74"]) == "v0.0.74"


def test_a_route_at_its_target_goes_back_to_the_release_before():
    proven = ["v0.0.73", "v0.0.74", "v0.0.74"]
    assert previous_release("eu-1", "v0.0.74", proven) == "v0.0.73"


def test_a_second_rollback_returns_to_the_first_release():
    proven = ["v0.0.73", "v0.0.74", "v0.0.73"]
    assert previous_release("eu-1", "v0.0.73", proven) == "v0.0.74"


@pytest.mark.parametrize("proven", [[], ["v0.0.73"]])
def test_without_a_previous_release_a_rollback_is_refused_and_names_the_route(proven):
    with pytest.raises(NoPreviousReleaseError, match="eu-1"):
        previous_release("eu-1", "v0.0.73", proven)
