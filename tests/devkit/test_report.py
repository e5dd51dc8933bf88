"""The table and the JSON of the comparison: medians and their ratios to Relight's."""

import json

from devkit.bench.report import Figures, Report, show, write

OWN = Figures(2.0, 0.05, 0.5, 300.0)
OTHER = Figures(6.0, 0.1, 1.75, 60.0)
REPORT = Report(
    hosts=12,
    rounds=1,
    medians={"relight": OWN, "pyinfra": OTHER},
    all={"relight": (OWN,), "pyinfra": (OTHER,)},
)


def test_the_table_shows_each_ratio_to_relights_figure(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    show(REPORT)
    output = capsys.readouterr().out
    row = next(line for line in output.splitlines() if "pyinfra" in line)
    assert "6.00 (3.0x)" in row
    assert "100 (2.0x)" in row
    assert "1.75 (3.5x)" in row
    assert "stability window is 0" in output


def test_without_relight_the_table_has_no_ratios(capsys):
    show(REPORT._replace(medians={"pyinfra": OTHER}))
    assert "x)" not in capsys.readouterr().out


def test_the_json_has_all_figures_and_ratios(tmp_path):
    file = tmp_path / "bench.json"
    write(REPORT, file)
    content = json.loads(file.read_text())
    assert content["ratios"]["pyinfra"]["host_cpu_seconds"] == 3.5
    assert content["ratios"]["relight"]["wall_seconds"] == 1.0
    assert content["all"]["relight"][0]["peak_mib"] == 300.0
