"""What is held of the figures at two sizes of a fleet."""

import json
from dataclasses import replace

import pytest

from devkit.bench.scale.report import (
    show,
    write,
    wrong,
)
from devkit.bench.scale.rollout import Figures

SMALL = Figures(
    routes=1000,
    wall_seconds=50.0,
    routes_per_second=20.0,
    worker_cpu_ms=30.0,
    server_cpu_ms=25.0,
    events=20.0,
    history_bytes=8192.0,
    worker_peak_mib=200.0,
    server_peak_mib=180.0,
    largest_events=3000,
    largest_bytes=1_000_000,
    histories=5,
    hosts_cpu_ms=6.0,
)
LARGE = replace(SMALL, routes=10_000, wall_seconds=500.0, histories=41)


def test_a_cost_that_does_not_grow_is_right():
    assert wrong([SMALL, replace(LARGE, worker_cpu_ms=33.0, server_peak_mib=900.0)]) == []


@pytest.mark.parametrize(
    "grown",
    [
        {"worker_cpu_ms": 60.0},
        {"server_cpu_ms": 60.0},
        {"events": 30.0},
        {"history_bytes": 10_000.0},
        {"worker_peak_mib": 500.0},
    ],
)
def test_a_cost_that_grows_with_the_fleet_is_wrong(grown):
    (name,) = grown
    (said,) = wrong([SMALL, replace(LARGE, **grown)])
    assert f"at 10000 routes {name} is" in said


@pytest.mark.parametrize("too_large", [{"largest_events": 10_000}, {"largest_bytes": 5 * 2**20}])
def test_a_history_that_is_too_large_is_wrong_at_any_size(too_large):
    (said,) = wrong([replace(SMALL, **too_large)])
    assert "at 1000 routes a history has" in said


def test_the_table_has_both_columns_and_the_ratio(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    show([SMALL, LARGE])
    row = next(line for line in capsys.readouterr().out.splitlines() if "wall s" in line)
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["50.0", "500.0", "10.00"]


def test_the_json_has_every_figure_and_what_is_wrong(tmp_path):
    file = tmp_path / "scale.json"
    write([SMALL, replace(LARGE, events=40.0)], file)
    told = json.loads(file.read_text())
    assert [each["routes"] for each in told["rollouts"]] == [1000, 10_000]
    assert told["wrong"] == ["at 10000 routes events is 2.00 times that at 1000"]
