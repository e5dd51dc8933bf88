"""Where a wave runs."""

import pytest

from relight.domain.rollout.wave import SMALL_WAVE, WaveWork, runs_in_rollout

SMALL, LARGE = SMALL_WAVE, SMALL_WAVE + 1


@pytest.mark.parametrize(
    ("sizes", "number", "inside"),
    [
        ([SMALL], 1, True),
        ([LARGE], 1, False),
        ([1, LARGE], 1, True),
        ([1, LARGE], 2, False),
        ([LARGE, 1], 2, False),  # The first one was split: this may be its rest.
        ([1, SMALL], 3, True),  # Routes that joined late.
        ([1, LARGE], 3, False),
        ([], 1, True),
    ],
)
def test_a_wave_runs_in_its_rollout_if_no_wave_until_then_was_planned_larger(sizes, number, inside):
    assert runs_in_rollout(sizes, number, WaveWork.SWAP, SMALL) is inside
    assert runs_in_rollout(sizes, number, WaveWork.PROVE, SMALL) is inside


def test_a_rollback_is_one_wave_over_all_routes():
    assert runs_in_rollout([1, SMALL - 1], 1, WaveWork.ROLL_BACK, SMALL)
    assert not runs_in_rollout([1, SMALL], 1, WaveWork.ROLL_BACK, SMALL)


@pytest.mark.parametrize("sizes", [[], [1]])
@pytest.mark.parametrize("work", WaveWork)
def test_no_wave_of_an_older_rollout_runs_in_it(sizes, work):
    assert not runs_in_rollout(sizes, 1, work, 0)
