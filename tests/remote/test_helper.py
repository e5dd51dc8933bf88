"""How `relight-host` is called, and what it is told of its host."""

import os
import re
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remote import helper
from remote.deb_file import DebFile
from remote.helper import Change

UNIT = "relight-install.service"
PATIENCE = timedelta(seconds=5)
DEB = DebFile("https://h.example/x.deb", "0" * 64, 7, "amd64")
CALLS = {
    "swap": helper.swap(UNIT, PATIENCE, Change("0.0.74")),
    "see": helper.see(),
    "see a change": helper.see(UNIT, PATIENCE),
    "said": helper.said(UNIT),
    "forget": helper.forget(UNIT),
    "journal": helper.journal(20),
    "step": helper.step("install"),
    "install": helper.install(Change("0.0.74", rollback=True)),
    "rehearse": helper.rehearse(Change("0.0.74")),
    "serve": helper.serve(),
}
PROGRAM = "/usr/local/sbin/relight-host"

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("swap", ["swap", UNIT, "5", "0.0.74", "upgrade"]),
        ("see", ["see"]),
        ("see a change", ["see", UNIT, "5"]),
        ("said", ["said", UNIT]),
        ("forget", ["forget", UNIT]),
        ("journal", ["journal", "20"]),
        ("step", ["step", "install"]),
        ("install", ["install", "0.0.74", "rollback"]),
        ("rehearse", ["rehearse", "0.0.74", "upgrade"]),
        ("serve", ["serve"]),
    ],
)
def test_a_call_is_the_program_by_its_path_a_verb_and_words(name: str, words: list[str]) -> None:
    assert CALLS[name] == [PROGRAM, *words]


def test_every_verb_is_one_that_the_program_names() -> None:
    named = set(re.findall(r"^#   relight-host ([a-z]+) ", helper.text().decode(), re.MULTILINE))
    assert {argv[1] for argv in CALLS.values()} | {"change"} == named


def test_a_change_says_its_version_whether_it_goes_back_and_where_its_file_lies() -> None:
    assert Change("1").words() == ["1", "upgrade"]
    assert Change("1", rollback=True).words() == ["1", "rollback"]
    assert Change("1", deb=DEB).words() == [
        *("1", "upgrade", "https://h.example/x.deb", "0" * 64, "7", "amd64")
    ]


def test_sudo_lets_the_program_run_by_its_path_and_with_any_words() -> None:
    assert f"ALL=(root) NOPASSWD: {PROGRAM}" == helper.SUDO_RULE


def test_the_program_is_a_script_that_a_shell_takes() -> None:
    assert helper.text().startswith(b"#!/bin/sh\n")
    subprocess.run(["/bin/sh", "-n"], input=helper.text(), check=True)


def test_the_program_can_be_run_where_it_lies() -> None:
    assert os.access(Path(helper.__file__).parent / "host" / "relight-host", os.X_OK)


def test_program_and_control_plane_agree_on_what_they_both_name() -> None:
    text = helper.text().decode()
    assert f"CONF={helper.CONFIGURATION}\n" in text
    assert f"SOURCE={helper.SOURCES_FILE} " in text
    assert f"end {helper.SERVICE_EXIT_CODE} " in text


OPTIONS = [
    *("Dir::Etc::sourcelist", "Dir::Etc::sourceparts", "APT::Get::List-Cleanup"),
    *("Dir::Cache::pkgcache", "Dir::Cache::srcpkgcache", "pkgCacheFile::Generate"),
    *("Acquire::http::Timeout", "Acquire::https::Timeout", "Acquire::Retries"),
    *("DPkg::Lock::Timeout", "APT::Update::Error-Mode", "DPkg::Options::"),
    "Dir::Log::Planner",
]


@pytest.mark.parametrize("name", OPTIONS)
def test_apt_takes_every_option(name: str) -> None:
    """`apt-config` reads options as every apt program does, and does nothing."""
    argv = ["apt-config", "-o", f"{name}=x", "dump"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert f'{name} "x";' in said


def test_no_other_option_is_given_to_apt() -> None:
    given = re.findall(r'-o "?([A-Za-z:-]+)=', helper.text().decode())
    assert set(given) == set(OPTIONS)


@given(texts, texts, texts, texts)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_a_host_is_told_is_what_a_shell_reads(
    tmp_path: Path, package: str, unit: str, executable: str, deb_urls: str
) -> None:
    assert read(tmp_path, package, unit, executable, deb_urls) == [
        *(package, unit, executable, deb_urls)
    ]


@pytest.mark.parametrize(
    "value", ["$(touch x)", "`touch x`", "'; touch x; '", '"', "a\nUNIT=b", "$HOME", "\\", "", "*"]
)
def test_a_hostile_value_is_only_a_value(tmp_path: Path, value: str) -> None:
    assert read(tmp_path, value, value, value, value) == [value] * 4
    assert [file.name for file in tmp_path.iterdir()] == ["host"]


def read(folder: Path, *values: str) -> list[str]:
    """Return the values as a shell has them that reads the file."""
    file = folder / "host"
    file.write_bytes(helper.configuration(*values).encode())
    script = f'. {shlex.quote(str(file))}; printf "%s\\0" "$PACKAGE" "$UNIT" "$EXECUTABLE" '
    script += '"$DEB_URLS"'
    ended = subprocess.run(["/bin/sh", "-c", script], cwd=folder, capture_output=True, check=True)
    return ended.stdout.decode().split("\0")[:-1]
