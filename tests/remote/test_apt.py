"""The commands that change a package."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote import apt

PACKAGE, VERSION, UNIT = "lantern-box", "0.0.74", "relight-install.service"

packages = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,20}", fullmatch=True)
versions = st.from_regex(
    r"([0-9]:)?[0-9][0-9A-Za-z.+~]{0,12}(-[0-9A-Za-z.+~]{1,6})?", fullmatch=True
)


def options(argv: list[str]) -> dict[str, list[str]]:
    """Return apt's options, each with all its values."""
    found: dict[str, list[str]] = {}
    for at, argument in enumerate(argv):
        if argument == "-o":
            name, _, value = argv[at + 1].partition("=")
            found.setdefault(name, []).append(value)
    return found


READERS = {
    "refresh": apt.refresh(),
    "listed": apt.listed(PACKAGE),
    "install": apt.install(PACKAGE, VERSION),
    "simulate": apt.install(PACKAGE, VERSION, simulate=True),
}


@pytest.mark.parametrize("name", READERS)
def test_every_command_reads_our_source_alone_and_keeps_the_machines_index(name: str) -> None:
    given = options(READERS[name])
    assert given["Dir::Etc::sourcelist"] == [apt.SOURCES_FILE]
    assert given["Dir::Etc::sourceparts"] == ["-"]
    assert given["APT::Get::List-Cleanup"] == ["0"]
    assert given["Dir::Cache::pkgcache"] == [""]
    assert given["Dir::Cache::srcpkgcache"] == [""]


@pytest.mark.parametrize("name", READERS)
def test_every_command_speaks_english_and_asks_nothing(name: str) -> None:
    argv = READERS[name]
    assert argv[0] == "env"
    assert {"LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l"} <= set(argv)


def test_no_trouble_with_our_source_is_overlooked() -> None:
    assert options(apt.refresh())["APT::Update::Error-Mode"] == ["any"]


@pytest.mark.parametrize("name", ["refresh", "install"])
def test_waiting_has_an_end(name: str) -> None:
    given = options(READERS[name])
    assert given["Acquire::http::Timeout"] == given["Acquire::https::Timeout"] == ["5"]
    assert given["Acquire::Retries"] == ["0"]
    assert given["DPkg::Lock::Timeout"] == [str(apt.LOCK_PATIENCE_SECONDS)]


def test_edited_configuration_files_are_kept() -> None:
    assert options(apt.install(PACKAGE, VERSION))["DPkg::Options::"] == [
        "--force-confdef",
        "--force-confold",
    ]


def test_with_all_sources_nothing_else_changes() -> None:
    ours = options(apt.install(PACKAGE, VERSION))
    everywhere = options(apt.install(PACKAGE, VERSION, source_list=None))
    only = ours.keys() - everywhere.keys()
    assert everywhere.items() <= ours.items()
    assert all(name.startswith(("Dir::", "APT::Get::List-Cleanup")) for name in only)


@pytest.mark.parametrize("allow", [True, False])
def test_a_downgrade_needs_leave(allow: bool) -> None:
    assert ("--allow-downgrades" in apt.install(PACKAGE, VERSION, allow_downgrade=allow)) is allow
    script = apt.transaction_script(PACKAGE, VERSION, allow_downgrade=allow)
    assert ("--allow-downgrades" in script) is allow


@pytest.mark.parametrize("name", READERS)
def test_apt_takes_every_option(name: str) -> None:
    """`apt-config` reads options as every apt program does, and does nothing."""
    argv = [part for key, values in options(READERS[name]).items() for part in ("-o", key)]
    given = [f"{part}=x" if at % 2 else part for at, part in enumerate(argv)]
    said = subprocess.run(
        ["apt-config", *given, "dump"], capture_output=True, text=True, check=True
    ).stdout
    for key in options(READERS[name]):
        assert f'{key} "x";' in said


@given(packages, versions)
def test_what_is_installed_is_one_argument(package: str, version: str) -> None:
    argv = apt.install(package, version)
    assert argv[-2:] == ["install", f"{package}={version}"]


@given(packages, versions, st.booleans())
def test_the_transaction_is_a_script_that_a_shell_takes(
    package: str, version: str, allow: bool
) -> None:
    script = apt.transaction_script(package, version, allow_downgrade=allow)
    subprocess.run(["/bin/sh", "-n", "-c", script], check=True)
    assert f"{package}={version}" in script
    assert "${" not in script  # systemd would expand it
    assert "$$" not in script


def test_the_transaction_runs_the_very_commands() -> None:
    script = apt.transaction_script(PACKAGE, VERSION, source_list="other.list")
    for argv in (
        apt.refresh("other.list"),
        apt.listed(PACKAGE, "other.list"),
        apt.install(PACKAGE, VERSION, source_list="other.list"),
        apt.install(PACKAGE, VERSION, source_list="other.list", simulate=True),
        apt.install(PACKAGE, VERSION, source_list=None),
    ):
        assert shlex.join(argv) in script


def test_the_transaction_is_detached_from_whoever_starts_it() -> None:
    argv = apt.install_transaction(UNIT, PACKAGE, VERSION)
    assert argv[0] == "systemd-run"
    assert f"--unit={UNIT}" in argv
    for tie in ("--pipe", "--scope", "--pty", "--wait", "--collect", "-P", "-t", "-G"):
        assert tie not in argv
    # It keeps its outcome until somebody has read it, and its words outlive the link.
    assert "--property=RemainAfterExit=yes" in argv
    assert "--property=StandardOutput=journal" in argv
    assert argv[-3:] == ["/bin/sh", "-c", apt.transaction_script(PACKAGE, VERSION)]
