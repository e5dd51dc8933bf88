"""Calls of `relight-host`, and its configuration file."""

import gzip
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
from relight.domain.service import Service
from relight.hosts import host_program
from relight.hosts.host_program import Change

UNIT = "relight-install.service"
WAIT, DEADLINE = timedelta(seconds=5), timedelta(minutes=10)
DEB = DebFile(
    filename="https://h.example/x.deb", sha256="0" * 64, size_bytes=7, architecture="amd64"
)
PUSHED = DEB.model_copy(update={"filename": "pushed:x.deb"})
CALLS = {
    "swap": host_program.swap(UNIT, WAIT, DEADLINE, Change("0.0.74")),
    "observe": host_program.observe(),
    "observe a transaction": host_program.observe(UNIT, WAIT),
    "log": host_program.log(UNIT),
    "forget": host_program.forget(UNIT),
    "stop": host_program.stop(UNIT),
    "settings": host_program.settings(64 * "0"),
    "configure": host_program.configure(),
    "swap with settings": host_program.swap(UNIT, WAIT, DEADLINE, Change("0.0.74"), "0" * 64),
    "journal": host_program.journal(20),
    "followed journal": host_program.journal(20, follow=True),
    "step": host_program.step("install"),
    "install": host_program.install(Change("0.0.74", rollback=True)),
    "dry-run": host_program.dry_run(Change("0.0.74")),
    "serve": host_program.serve(),
    "received": host_program.received(PUSHED),
    "receive": host_program.receive(PUSHED),
    "host-key": host_program.host_key(),
    "stage": host_program.stage("1" * 64),
    "swap with a configuration": host_program.swap(
        UNIT, WAIT, DEADLINE, Change("0.0.74"), configuration="1" * 64
    ),
}
PROGRAM = "/usr/local/sbin/relight-host"

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("swap", ["swap", UNIT, "5", "600", "0.0.74", "upgrade"]),
        ("observe", ["observe"]),
        ("received", ["received", "0" * 64]),
        ("receive", ["receive", "0" * 64, "7"]),
        ("observe a transaction", ["observe", UNIT, "5"]),
        ("log", ["log", UNIT]),
        ("forget", ["forget", UNIT]),
        ("stop", ["stop", UNIT]),
        ("settings", ["settings", 64 * "0"]),
        ("configure", ["configure"]),
        ("swap with settings", ["swap", UNIT, "5", "600", "0" * 64, "0.0.74", "upgrade"]),
        ("journal", ["journal", "20"]),
        ("followed journal", ["journal", "20", "follow"]),
        ("step", ["step", "install"]),
        ("install", ["install", "0.0.74", "rollback"]),
        ("dry-run", ["dry-run", "0.0.74", "upgrade"]),
        ("host-key", ["host-key"]),
        ("stage", ["stage", "1" * 64]),
        (
            "swap with a configuration",
            ["swap", UNIT, "5", "600", "any", "1" * 64, "0.0.74", "upgrade"],
        ),
        ("serve", ["serve"]),
    ],
)
def test_a_call_is_path_subcommand_and_arguments(name: str, words: list[str]) -> None:
    assert CALLS[name] == [PROGRAM, *words]


def test_the_program_documents_every_subcommand() -> None:
    named = set(re.findall(r"^#   relight-host ([a-z-]+) ", host_program.source(), re.MULTILINE))
    assert {argv[1] for argv in CALLS.values()} | {"change"} == named


def test_a_change_consists_of_version_direction_and_file() -> None:
    assert Change("1").words() == ["1", "upgrade"]
    assert Change("1", rollback=True).words() == ["1", "rollback"]
    assert Change("1", deb=DEB).words() == [
        *("1", "upgrade", "https://h.example/x.deb", "0" * 64, "7", "amd64")
    ]
    assert Change("1", deb=PUSHED).words() == ["1", "upgrade", "pushed", "0" * 64, "7", "amd64"]
    by_apt = DEB.model_copy(update={"filename": "pool/x.deb"})
    assert Change("1", deb=by_apt).words() == ["1", "upgrade"]


def test_sudo_allows_the_program_with_any_arguments() -> None:
    assert f"ALL=(root) NOPASSWD: NOSETENV: {PROGRAM}" == host_program.SUDO_RULE


def test_the_program_is_a_valid_shell_script() -> None:
    interpreter = host_program.text().partition(b"\n")[0]
    assert interpreter.endswith(b" /bin/sh")
    assert len(interpreter) < 127, "older kernels cut it"
    subprocess.run(["/bin/sh", "-n"], input=host_program.text(), check=True)


def test_a_host_gets_the_program_without_its_comments() -> None:
    """Providers limit user-data to 16 KiB."""
    text = host_program.text()
    first, *lines = text.decode().splitlines()
    assert first == host_program.source().partition("\n")[0]
    assert not [line for line in lines if line.startswith((" ", "#"))]
    assert "serve() {" in lines
    assert "find_stale() {" in lines, "the part in a file of its own is missing"
    assert len(gzip.compress(text)) < 0.75 * len(gzip.compress(host_program.source().encode()))


def test_a_first_boot_gets_a_shorter_program_without_what_it_does_not_need() -> None:
    short = host_program.text(first_boot=True)
    assert len(gzip.compress(short)) < 0.75 * len(gzip.compress(host_program.text()))
    assert b"judge_process" not in short
    assert b"change_host_key() {" not in short
    assert b"observe() {" not in short
    subprocess.run(["/bin/sh", "-n"], input=short, check=True)


def test_the_program_is_executable() -> None:
    assert os.access(Path(host_program.__file__).parent / "files" / "relight-host", os.X_OK)


def test_program_and_control_plane_use_the_same_constants() -> None:
    text = host_program.text().decode()
    assert f"CONF={host_program.CONFIGURATION}\n" in text
    assert f"SOURCE={host_program.SOURCES_FILE} " in text
    assert f"fail {host_program.SERVICE_EXIT_CODE} " in text


OPTIONS = [
    *("Dir::Etc::sourcelist", "Dir::Etc::sourceparts", "APT::Get::List-Cleanup"),
    *("Dir::Cache::pkgcache", "Dir::Cache::srcpkgcache", "pkgCacheFile::Generate"),
    *("Acquire::http::Timeout", "Acquire::https::Timeout", "Acquire::Retries"),
    *("DPkg::Lock::Timeout", "APT::Update::Error-Mode", "DPkg::Options::"),
    *("Dir::Log::Planner", "Acquire::AllowReleaseInfoChange", "Dir::Bin::apt-key"),
    *("Dir::Etc::preferences", "Dir::Etc::preferencesparts"),
    "APT::Get::Always-Include-Phased-Updates",
]


@pytest.mark.parametrize("name", OPTIONS)
def test_apt_accepts_every_option(name: str) -> None:
    """`apt-config` parses options like every apt program, and changes nothing."""
    argv = ["apt-config", "-o", f"{name}=x", "dump"]
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert f'{name} "x";' in output


def test_no_other_option_is_passed_to_apt() -> None:
    given = re.findall(r'-o "?([A-Za-z:-]+)=', host_program.text().decode())
    assert set(given) == set(OPTIONS)


@given(texts, texts, texts, texts)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_configuration_is_read_unchanged_by_a_shell(
    tmp_path: Path, package: str, unit: str, executable: str, deb_urls: str
) -> None:
    assert read(tmp_path, package, unit, executable, deb_urls) == [
        *(package, unit, executable, deb_urls)
    ]


@pytest.mark.parametrize(
    "value", ["$(touch x)", "`touch x`", "'; touch x; '", '"', "a\nUNIT=b", "$HOME", "\\", "", "*"]
)
def test_a_hostile_value_is_quoted(tmp_path: Path, value: str) -> None:
    assert read(tmp_path, value, value, value, value) == [value] * 4
    assert [file.name for file in tmp_path.iterdir()] == ["host"]


def read(folder: Path, package: str, unit: str, executable: str, deb_urls: str) -> list[str]:
    """Return the values that a shell reads from the file."""
    file = folder / "host"
    service = Service(package, unit, executable, timedelta())
    file.write_bytes(host_program.configuration(service, deb_urls).encode())
    script = f'. {shlex.quote(str(file))}; printf "%s\\0" "$PACKAGE" "$UNIT" "$EXECUTABLE" '
    script += '"$DEB_URLS"'
    ended = subprocess.run(["/bin/sh", "-c", script], cwd=folder, capture_output=True, check=True)
    return ended.stdout.decode().split("\0")[:-1]
