"""What a machine tells after a change, and the page of all trials."""

import json

import pytest

from devkit.services import page
from devkit.services.catalog import CATALOG, Entry
from devkit.services.on_host import HostProcess, HostState, HostUnit, problems
from devkit.services.trial import Report

EXPECTED = {"app": "1.0+next1", "app-data": "1.0+next1"}
UNIT = HostUnit(state="active (running)", type="notify", started=100.5)


def state(
    *processes: HostProcess, version: str = "ii 1.0+next1", unit: HostUnit = UNIT
) -> HostState:
    return HostState(
        unpacked=100.0,
        units={"app.service": unit},
        processes=processes,
        versions={"app": version, "python3.11-minimal": "ii 3.11"},
    )


def process(file: str, started: float, package: str) -> HostProcess:
    return HostProcess(unit="app.service", file=file, started=started, package=package)


NEW = process("/usr/bin/app", 100.5, "app")
EXECUTED_AGAIN = process("/usr/bin/app", 1.0, "app")
OLD = process("/usr/bin/app (deleted)", 1.0, "")
OLD_SCRIPT = process("/usr/bin/python3.11", 1.0, "python3.11-minimal")
RAN = HostUnit(state="active (exited)", type="oneshot", started=100.5)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (state(NEW), []),
        (state(EXECUTED_AGAIN), []),
        (state(NEW, OLD), ["/usr/bin/app (deleted) of app.service is an old file"]),
        (state(OLD_SCRIPT), ["/usr/bin/python3.11 of app.service started before the change"]),
        (state(NEW, version="iF 1.0+next1"), ["app is `iF 1.0+next1`, not `ii 1.0+next1`"]),
        (state(NEW, version="ii 1.0"), ["app is `ii 1.0`, not `ii 1.0+next1`"]),
        (state(), ["nothing runs"]),
        (state(unit=RAN), []),
        (
            state(unit=RAN.model_copy(update={"started": 2.0})),
            ["app.service ran before the change"],
        ),
    ],
)
def test_what_a_machine_runs_is_judged_by_its_own_answers(
    seen: HostState, found: list[str]
) -> None:
    assert problems(seen, EXPECTED) == found


def test_a_socket_that_waits_runs_nothing_old() -> None:
    listening = HostUnit(state="active (listening)", type="", started=0)
    seen = state().model_copy(update={"units": {"app.socket": listening}})
    assert problems(seen, EXPECTED) == []


def test_the_page_counts_what_is_proven_and_says_why_the_others_are_not() -> None:
    reports = {entry.package: Report(entry.package, "1.0") for entry in CATALOG}
    first = CATALOG[0].package
    reports[first] = Report(first, "2.0", "swap", "it runs <old>\na|b")
    text = page.text(reports)
    assert f"{len(CATALOG) - 1} of {len(CATALOG)} are proven." in text
    assert "not proven: swap: it runs &lt;old> a\\|b |" in text
    assert [report.name for report in page.unexpected(list(reports.values()))] == [first]
    assert json.loads(page.as_json([reports[first]]))[0]["failed_step"] == "swap"


def test_a_service_that_cannot_run_on_a_machine_of_the_lab_may_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = Entry("clock", "C", expected="a machine cannot set the clock")
    monkeypatch.setattr(page, "CATALOG", (entry,))
    failed = Report("clock", "1.0", "provision", "clock.service did not start")
    assert page.unexpected([failed]) == []
    assert "not proven (provision): a machine cannot set the clock" in page.text({"clock": failed})


def test_the_catalog_has_forty_services_once_each() -> None:
    names = [entry.package for entry in CATALOG]
    assert len(names) >= 40
    assert len(set(names)) == len(names)
    assert all(entry.model for entry in CATALOG)
