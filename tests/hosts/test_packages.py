"""Parsers of dpkg and apt output, tested on captured output and on the real dpkg."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.table import RULES
from relight.hosts import host_program
from relight.hosts.apt import LOCKED_NOTICE, RETRY_NOTICE, diagnose
from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.packages import ABSENT, PackageState, parse_query, parse_verify


def query(package: str) -> list[str]:
    """Return the query of `relight-host`."""
    *_, form = re.findall(r"--showformat='(.*\\t.*)'", host_program.text().decode())
    return ["dpkg-query", "--show", f"--showformat={form}", "--", package]


def test_the_output_of_the_real_dpkg_is_parsed() -> None:
    argv = query("dpkg")
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    state = parse_query(output)
    assert state.status == "ii"
    assert state.version[0].isdigit()
    assert state.architecture


def test_a_package_unknown_to_the_real_dpkg_is_absent() -> None:
    argv = query("relight-no-such-package")
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert parse_query(ended.stdout) == ABSENT


@pytest.mark.parametrize(
    ("status", "stripped"),
    [
        ("ii ", "ii"),
        ("hi ", "hi"),
        ("rc ", "rc"),
        ("iU ", "iU"),
        ("iF ", "iF"),
        ("iHR", "iHR"),
        ("itR", "itR"),
        ("iW ", "iW"),
        ("pn ", "pn"),
    ],
)
def test_each_status_is_parsed(status: str, stripped: str) -> None:
    state = parse_query(f"{status}\t0.0.74\tamd64\n")
    assert state == PackageState(status=stripped, version="0.0.74", architecture="amd64")
    assert state.is_installed("0.0.74") == (stripped in {"ii", "hi"})
    assert state.is_held == (stripped == "hi")


def test_a_package_that_only_others_mention_is_absent() -> None:
    assert parse_query("un \t\t\n") == ABSENT


@pytest.mark.parametrize("version", ["0.0.7", "0.0.740", "0.0.74-1", "1:0.0.74", ""])
def test_only_the_exact_version_counts_as_installed(version: str) -> None:
    state = PackageState(status="ii", version="0.0.74", architecture="amd64")
    assert not state.is_installed(version)


@pytest.mark.parametrize(
    "output",
    [
        "0.0.74\n",
        "ii \t0.0.74\n",
        "xx \t0.0.74\tamd64\n",
        "ii \t0.0.74\tamd64\nii \t0.0.74\tarm64\n",
        "dpkg-query: error\tof\tsome kind\n",
        "\n",
    ],
)
def test_other_output_of_dpkg_query_is_refused(output: str) -> None:
    with pytest.raises(UnreadableAnswerError):
        parse_query(output)


def test_missing_and_changed_files_are_damage_but_edited_configuration_is_not() -> None:
    output = (
        "??5??????   /usr/bin/lantern-box\n"
        "missing     /usr/share/a file\n"
        "??5?????? c /etc/lantern-box/config.json\n"
        "missing   c /etc/lantern-box/other.json\n"
    )
    assert parse_verify(output) == ("/usr/bin/lantern-box", "/usr/share/a file")


@pytest.mark.parametrize("output", ["", "dpkg: package 'x' is not installed\n", "missing\n"])
def test_output_without_a_file_is_no_damage(output: str) -> None:
    assert parse_verify(output) == ()


CASES = Path(__file__).parent / "cases"
PACKAGE = "lantern-box"


def load(path: Path) -> dict[str, Any]:
    case = yaml.safe_load(path.read_text())
    assert isinstance(case, dict)
    return case


APT_CASES = {path.stem: load(path) for path in sorted((CASES / "apt").glob("*.yaml"))}
FAILURES = {name: case for name, case in APT_CASES.items() if case["kind"]}


@pytest.mark.parametrize("name", FAILURES)
def test_the_kind_of_a_failure_is_found_in_the_output(name: str) -> None:
    case = FAILURES[name]
    diagnosis = diagnose(case["output"], PACKAGE)
    assert diagnosis.kind == case["kind"]
    assert diagnosis.text


@pytest.mark.parametrize("name", FAILURES)
def test_the_reason_is_a_line_of_the_output(name: str) -> None:
    lines = {line.strip() for line in FAILURES[name]["output"].splitlines()}
    text = diagnose(FAILURES[name]["output"], PACKAGE).text
    assert text.partition(" It is held by process")[0] in lines


@pytest.mark.parametrize("name", sorted(APT_CASES.keys() - FAILURES.keys()))
def test_the_output_of_a_success_contains_no_known_reason(name: str) -> None:
    case = APT_CASES[name]
    assert case["exit_code"] == 0
    # Without a terminal apt complains about its log and continues.
    assert diagnose(case["output"], PACKAGE).kind == "apt-failed"


@pytest.mark.parametrize("name", FAILURES)
def test_every_kind_is_in_the_table_of_faults(name: str) -> None:
    assert FAILURES[name]["kind"] in RULES


def test_the_holder_of_a_lock_is_named() -> None:
    text = diagnose(APT_CASES["dpkg-lock-held"]["output"], PACKAGE).text
    assert text.endswith("It is held by process 16855 (python)")


def test_waiting_for_a_lock_is_not_a_reason() -> None:
    output = (
        "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. "
        "It is held by process 7 (apt)...\nE: Version '0.0.99' for 'lantern-box' was not found\n"
    )
    assert diagnose(output, PACKAGE).kind == "version-not-listed"


@pytest.mark.parametrize("package", ["lantern", "box", "lantern-box-extra", "other"])
def test_a_failing_script_of_another_package_is_not_a_fault_of_the_release(package: str) -> None:
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
def test_a_failing_script_is_found_for_each_way_dpkg_names_the_package(of: str) -> None:
    what = of if of.startswith("archive") else f"package {of}"
    output = (
        f"dpkg: error processing {what}\n"
        " new lantern-box package pre-installation script subprocess returned error exit status 1\n"
    )
    assert diagnose(output, PACKAGE).kind == "maintainer-script-failed"


def test_the_reason_is_taken_from_the_second_attempt() -> None:
    first = APT_CASES["dependency-missing"]["output"]
    second = APT_CASES["dpkg-lock-held"]["output"]
    assert diagnose(f"{first}{RETRY_NOTICE}\n{second}", PACKAGE).kind == "dpkg-lock-held"
    assert diagnose(f"{first}{RETRY_NOTICE}\n{first}", PACKAGE).kind == "dependencies-missing"


def test_empty_output_is_told() -> None:
    assert diagnose("", PACKAGE) == ("apt-failed", "it printed nothing")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("Segmentation fault\n", "Segmentation fault"),
        (
            "E: Konnte nichts finden\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n",
            "E: Konnte nichts finden",
        ),
        (
            "something odd\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n",
            "something odd",
        ),
        ("E: first\nE: second\nFetched 3 B in 0s (1 B/s)\n", "E: first"),
        (
            "E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
            "E: Sub-process /usr/bin/dpkg returned an error code (1)",
        ),
    ],
)
def test_an_unknown_reason_is_the_line_that_failed(output: str, text: str) -> None:
    progress = "Reading package lists...\nGet:1 http://example.org stable InRelease [3 B]\n"
    assert diagnose(progress + output, PACKAGE) == ("apt-failed", text)


def test_the_reason_of_each_attempt_but_the_last_is_ignored() -> None:
    first = APT_CASES["dependency-missing"]["output"]
    locked = f"{first}{LOCKED_NOTICE}: a=1\n"
    assert diagnose(f"{locked}E: Unable to locate package x", PACKAGE).kind == "version-not-listed"
    assert diagnose(f"{locked}{RETRY_NOTICE}\nbroken", PACKAGE).text == "broken"


@given(st.text())
def test_any_output_gives_a_known_kind(output: str) -> None:
    assert diagnose(output, PACKAGE).kind in RULES
