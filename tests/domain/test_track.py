"""Which release a route should run."""

import pytest

from relight.domain.track import NoDesiredReleaseError, desired_release


def test_a_tracks_override_takes_precedence_over_the_default():
    assert desired_release("beta", "v0.0.74", "v0.0.73").tag == "v0.0.74"


def test_a_track_without_an_override_uses_the_default():
    desired = desired_release("beta", None, "v0.0.73")
    assert (desired.tag, desired.declared_by) == ("v0.0.73", "default_release_tag")


def test_without_a_declaration_the_error_names_the_track():
    with pytest.raises(NoDesiredReleaseError, match="track beta"):
        desired_release("beta", None, None)
