"""Which release a route should run."""

import pytest

from relight.domain.release import NoDesiredReleaseError, desired_release


def test_a_tracks_override_comes_before_the_fleets_default():
    assert desired_release("beta", "v0.0.74", "v0.0.73").tag == "v0.0.74"


def test_the_fleets_default_serves_a_track_without_one():
    desired = desired_release("beta", None, "v0.0.73")
    assert (desired.tag, desired.declared_by) == ("v0.0.73", "default_release_tag")


def test_with_neither_it_refuses_and_names_the_track():
    with pytest.raises(NoDesiredReleaseError, match="track beta"):
        desired_release("beta", None, None)
