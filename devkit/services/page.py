"""The result of all trials: a page of documentation, and JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from devkit.services.catalog import CATALOG, Entry
from devkit.services.trial import Report

PAGE = Path(__file__).parents[2] / "docs/services-tried.md"

_HEAD = """\
# Services of Debian that were tried

Made by `make services`: do not edit. Each package is taken from Debian as it is, with no settings
but those that `relight init` writes. On a machine of the lab it is provisioned by an ordinary first
boot, swapped to a repacked next version, and rolled back. Each of the three is proven, and then
checked on the machine itself: the versions, and the start of every process.

{proven} of {all} are proven.

| package | version | kind | result |
| --- | --- | --- | --- |
"""


def unexpected(reports: Sequence[Report]) -> list[Report]:
    """Return the reports of services that had to be proven, and are not."""
    entries = {entry.package: entry for entry in CATALOG}
    return [
        report for report in reports if not report.is_proven and not entries[report.name].expected
    ]


def text(reports: Mapping[str, Report]) -> str:
    """Return the page.

    Args:
        reports: by package; of each in the catalog.
    """
    proven = sum(report.is_proven for report in reports.values())
    rows = [_row(entry, reports[entry.package]) for entry in CATALOG]
    return _HEAD.format(proven=proven, all=len(rows)) + "".join(rows)


def as_json(reports: Sequence[Report]) -> str:
    """Return all reports."""
    return json.dumps([dataclasses.asdict(report) for report in reports], indent=2) + "\n"


def _row(entry: Entry, report: Report) -> str:
    reason = " ".join(report.reason.split()).replace("|", "\\|").replace("<", "&lt;")
    result = "proven" if report.is_proven else f"not proven: {report.failed_step}: {reason}"
    if entry.expected and not report.is_proven:
        result = f"not proven ({report.failed_step}): {entry.expected}"
    return f"| {entry.package} | `{report.version}` | {entry.model} | {result} |\n"
