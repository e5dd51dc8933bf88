"""The table of the release skew."""

from datetime import UTC, datetime

from relight.domain.skew import BAR_WIDTH, FleetSkew, SkewPair, fleet_skew, skew_rows

AT = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


def pair(target: str | None, current: str | None, routes: int, since: datetime | None = None):
    return SkewPair(target=target, current=current, routes=routes, lags_since=since)


SKEW = fleet_skew(
    [
        ("stable", pair("v0.0.74", "v0.0.74", 30)),
        ("stable", pair("v0.0.74", "v0.0.73", 9, AT)),
        ("stable", pair("v0.0.74", None, 1)),
        ("beta", pair("v0.0.75", "v0.0.75", 5)),
    ],
    {"stable": "v0.0.74", "beta": None},
)


def test_a_row_for_each_pair_with_those_that_lag_first():
    assert skew_rows(SKEW) == [
        ("beta", "-", "v0.0.75", "v0.0.75", "5", "#" * BAR_WIDTH, "-"),
        ("stable", "v0.0.74", "v0.0.74", "v0.0.73", "9", "####", "2026-11-24 12:30"),
        ("stable", "v0.0.74", "v0.0.74", "-", "1", "#", "not on record"),
        ("stable", "v0.0.74", "v0.0.74", "v0.0.74", "30", "#" * 15, "-"),
    ]


def test_a_track_has_its_totals_and_its_oldest_lag():
    beta, stable = SKEW.tracks
    assert (beta.routes, beta.lagging, beta.oldest_lag) == (5, 0, None)
    assert (stable.routes, stable.lagging, stable.oldest_lag) == (40, 10, AT)


def test_no_routes_are_no_table():
    assert (fleet_skew([], {}), skew_rows(FleetSkew())) == (FleetSkew(), [])
