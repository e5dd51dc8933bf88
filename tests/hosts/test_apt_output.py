"""What apt's and dpkg's words mean, on output captured from the real ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.table import RULES
from relight.hosts.apt import ONCE_MORE, diagnose

CASES = Path(__file__).parent / "cases"
PACKAGE = "lantern-box"


def load(path: Path) -> dict[str, Any]:
    case = yaml.safe_load(path.read_text())
    assert isinstance(case, dict)
    return case


APT_CASES = {path.stem: load(path) for path in sorted((CASES / "apt").glob("*.yaml"))}
FAILURES = {name: case for name, case in APT_CASES.items() if case["kind"]}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_told_by_what_apt_said(name: str) -> None:
    case = FAILURES[name]
    diagnosis = diagnose(case["output"], PACKAGE)
    assert diagnosis.kind == case["kind"]
    assert diagnosis.text


@pytest.mark.parametrize("name", FAILURES)
def test_the_reason_is_a_line_of_what_apt_said(name: str) -> None:
    lines = {line.strip() for line in FAILURES[name]["output"].splitlines()}
    text = diagnose(FAILURES[name]["output"], PACKAGE).text
    assert text.partition(" It is held by process")[0] in lines


@pytest.mark.parametrize("name", sorted(APT_CASES.keys() - FAILURES.keys()))
def test_success_says_nothing_that_would_be_taken_for_a_reason(name: str) -> None:
    case = APT_CASES[name]
    assert case["exit_code"] == 0
    # apt grumbles about its log where there is no terminal, and goes on.
    assert diagnose(case["output"], PACKAGE).kind == "apt-failed"


@pytest.mark.parametrize("name", FAILURES)
def test_every_kind_has_a_nature(name: str) -> None:
    assert FAILURES[name]["kind"] in RULES


def test_whoever_holds_a_lock_is_named() -> None:
    text = diagnose(APT_CASES["dpkg-lock-held"]["output"], PACKAGE).text
    assert text.endswith("It is held by process 16855 (python)")


def test_waiting_for_a_lock_that_was_got_in_the_end_is_no_reason() -> None:
    output = (
        "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. "
        "It is held by process 7 (apt)...\nE: Version '0.0.99' for 'lantern-box' was not found\n"
    )
    assert diagnose(output, PACKAGE).kind == "version-not-listed"


@pytest.mark.parametrize("package", ["lantern", "box", "lantern-box-extra", "other"])
def test_a_failing_script_of_another_package_is_not_the_releases_fault(package: str) -> None:
    assert diagnose(APT_CASES["postinst-failed"]["output"], package).kind == "apt-failed"


@pytest.mark.parametrize(
    "of",
    [
        "lantern-box (--configure):",
        "lantern-box:arm64 (--configure):",
        "archive /tmp/apt-dpkg-install-X/0-lantern-box_0.0.79_amd64.deb (--unpack):",
        "archive /var/cache/apt/archives/lantern-box_0.0.79_amd64.deb (--unpack):",
    ],
)
def test_a_failing_script_is_the_releases_fault_however_dpkg_names_the_package(of: str) -> None:
    what = of if of.startswith("archive") else f"package {of}"
    output = (
        f"dpkg: error processing {what}\n"
        " new lantern-box package pre-installation script subprocess returned error exit status 1\n"
    )
    assert diagnose(output, PACKAGE).kind == "maintainer-script-failed"


def test_of_two_attempts_the_second_says_why_it_failed() -> None:
    first = APT_CASES["dependency-missing"]["output"]
    second = APT_CASES["dpkg-lock-held"]["output"]
    assert diagnose(f"{first}{ONCE_MORE}\n{second}", PACKAGE).kind == "dpkg-lock-held"
    assert diagnose(f"{first}{ONCE_MORE}\n{first}", PACKAGE).kind == "dependencies-missing"


def test_silence_is_no_known_reason() -> None:
    assert diagnose("", PACKAGE) == ("apt-failed", "it gave no reason")


@given(st.text())
def test_whatever_was_said_is_read(output: str) -> None:
    assert diagnose(output, PACKAGE).kind in RULES
