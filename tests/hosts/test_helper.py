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

from relight.domain.release import DebFile
from relight.hosts import host_program
from relight.hosts.host_program import Change

UNIT = "relight-install.service"
PATIENCE = timedelta(seconds=5)
DEB = DebFile(
    filename="https://h.example/x.deb", sha256="0" * 64, size_bytes=7, architecture="amd64"
)
CALLS = {
    "swap": host_program.swap(UNIT, PATIENCE, Change("0.0.74")),
    "see": host_program.see(),
    "see a change": host_program.see(UNIT, PATIENCE),
    "said": host_program.said(UNIT),
    "forget": host_program.forget(UNIT),
    "journal": host_program.journal(20),
    "step": host_program.step("install"),
    "install": host_program.install(Change("0.0.74", rollback=True)),
    "rehearse": host_program.dry_run(Change("0.0.74")),
    "serve": host_program.serve(),
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
    named = set(
        re.findall(r"^#   relight-host ([a-z]+) ", host_program.text().decode(), re.MULTILINE)
    )
    assert {argv[1] for argv in CALLS.values()} | {"change"} == named


def test_a_change_says_its_version_whether_it_goes_back_and_where_its_file_lies() -> None:
    assert Change("1").words() == ["1", "upgrade"]
    assert Change("1", rollback=True).words() == ["1", "rollback"]
    assert Change("1", deb=DEB).words() == [
        *("1", "upgrade", "https://h.example/x.deb", "0" * 64, "7", "amd64")
    ]


def test_sudo_lets_the_program_run_by_its_path_and_with_any_words() -> None:
    assert f"ALL=(root) NOPASSWD: {PROGRAM}" == host_program.SUDO_RULE


def test_the_program_is_a_script_that_a_shell_takes() -> None:
    assert host_program.text().startswith(b"#!/bin/sh\n")
    subprocess.run(["/bin/sh", "-n"], input=host_program.text(), check=True)


def test_the_program_can_be_run_where_it_lies() -> None:
    assert os.access(Path(host_program.__file__).parent / "files" / "relight-host", os.X_OK)


def test_program_and_control_plane_agree_on_what_they_both_name() -> None:
    text = host_program.text().decode()
    assert f"CONF={host_program.CONFIGURATION}\n" in text
    assert f"SOURCE={host_program.SOURCES_FILE} " in text
    assert f"end {host_program.SERVICE_EXIT_CODE} " in text


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
    given = re.findall(r'-o "?([A-Za-z:-]+)=', host_program.text().decode())
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
    file.write_bytes(host_program.configuration(*values).encode())
    script = f'. {shlex.quote(str(file))}; printf "%s\\0" "$PACKAGE" "$UNIT" "$EXECUTABLE" '
    script += '"$DEB_URLS"'
    ended = subprocess.run(["/bin/sh", "-c", script], cwd=folder, capture_output=True, check=True)
    return ended.stdout.decode().split("\0")[:-1]
