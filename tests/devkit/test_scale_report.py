"""The report of two fleet sizes: limits, table and JSON."""

import json
from dataclasses import replace

import pytest

from devkit.bench.scale.report import (
    show,
    violations,
    write,
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
    database_cpu_ms=0.0,
    hosts_cpu_ms=6.0,
)
LARGE = replace(SMALL, routes=10_000, wall_seconds=500.0, histories=41)


def test_a_cost_that_does_not_grow_is_no_violation():
    assert violations([SMALL, replace(LARGE, worker_cpu_ms=33.0, server_peak_mib=900.0)]) == []


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
def test_a_cost_that_grows_with_the_fleet_is_a_violation(grown):
    (name,) = grown
    (violation,) = violations([SMALL, replace(LARGE, **grown)])
    assert f"at 10000 routes {name} is" in violation


@pytest.mark.parametrize("too_large", [{"largest_events": 10_000}, {"largest_bytes": 5 * 2**20}])
def test_a_too_large_history_is_a_violation_at_any_fleet_size(too_large):
    (violation,) = violations([replace(SMALL, **too_large)])
    assert "at 1000 routes a history has" in violation


def test_the_table_has_both_columns_and_the_ratio(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    show([SMALL, LARGE])
    row = next(line for line in capsys.readouterr().out.splitlines() if "wall s" in line)
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["50.0", "500.0", "10.00"]


def test_the_json_has_all_figures_and_violations(tmp_path):
    file = tmp_path / "scale.json"
    write([SMALL, replace(LARGE, events=40.0)], file)
    content = json.loads(file.read_text())
    assert [each["routes"] for each in content["rollouts"]] == [1000, 10_000]
    assert content["violations"] == ["at 10000 routes events is 2.00 times that at 1000"]
