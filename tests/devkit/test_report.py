"""What the bench prints and writes: medians, and how many times Relight's they are."""

import json

from devkit.bench.report import (
    Figures,
    Report,
    show,
    write,
)

OWN = Figures(2.0, 0.05, 0.5, 300.0)
OTHER = Figures(6.0, 0.1, 1.75, 60.0)
REPORT = Report(
    hosts=12,
    rounds=1,
    medians={"relight": OWN, "pyinfra": OTHER},
    all={"relight": (OWN,), "pyinfra": (OTHER,)},
)


def test_the_table_says_how_many_times_relights_figure_each_other_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    show(REPORT)
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if "pyinfra" in line)
    assert "6.00 (3.0x)" in row
    assert "100 (2.0x)" in row
    assert "1.75 (3.5x)" in row
    assert "stability window is 0" in said


def test_without_relight_there_is_nothing_to_compare_with(capsys):
    show(REPORT._replace(medians={"pyinfra": OTHER}))
    assert "x)" not in capsys.readouterr().out


def test_the_json_has_every_figure_and_the_ratios(tmp_path):
    file = tmp_path / "bench.json"
    write(REPORT, file)
    told = json.loads(file.read_text())
    assert told["ratios"]["pyinfra"]["host_cpu_seconds"] == 3.5
    assert told["ratios"]["relight"]["wall_seconds"] == 1.0
    assert told["all"]["relight"][0]["peak_mib"] == 300.0
