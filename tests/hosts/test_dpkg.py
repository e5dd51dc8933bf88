"""What dpkg says of a package."""

import re
import subprocess

import pytest

from relight.hosts import host_program
from relight.hosts.dpkg import (
    ABSENT,
    PackageState,
    installed_exactly,
    parse_query,
    parse_verify,
)
from relight.hosts.errors import UnreadableAnswerError


def query(package: str) -> list[str]:
    """Ask as `relight-host` does."""
    (form,) = re.findall(r"--showformat='(.*\\t.*)'", host_program.text().decode())
    return ["dpkg-query", "--show", f"--showformat={form}", "--", package]


def test_the_real_dpkg_is_understood() -> None:
    argv = query("dpkg")
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    state = parse_query(said)
    assert state.status == "ii"
    assert state.version[0].isdigit()
    assert state.architecture


def test_the_real_dpkg_does_not_know_every_package() -> None:
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
def test_each_status_is_read(status: str, stripped: str) -> None:
    state = parse_query(f"{status}\t0.0.74\tamd64\n")
    assert state == PackageState(status=stripped, version="0.0.74", architecture="amd64")
    assert installed_exactly(state, "0.0.74") == (stripped in {"ii", "hi"})
    assert state.is_held == (stripped == "hi")


def test_a_package_that_is_only_mentioned_by_others_is_absent() -> None:
    assert parse_query("un \t\t\n") == ABSENT


@pytest.mark.parametrize("version", ["0.0.7", "0.0.740", "0.0.74-1", "1:0.0.74", ""])
def test_another_version_is_another_version(version: str) -> None:
    state = PackageState(status="ii", version="0.0.74", architecture="amd64")
    assert not installed_exactly(state, version)


@pytest.mark.parametrize(
    "said",
    [
        "0.0.74\n",
        "ii \t0.0.74\n",
        "xx \t0.0.74\tamd64\n",
        "ii \t0.0.74\tamd64\nii \t0.0.74\tarm64\n",
        "dpkg-query: error\tof\tsome kind\n",
        "\n",
    ],
)
def test_what_dpkg_never_says_is_refused(said: str) -> None:
    with pytest.raises(UnreadableAnswerError):
        parse_query(said)


def test_files_that_are_missing_or_changed_are_damage_and_edited_configuration_is_none() -> None:
    said = (
        "??5??????   /usr/bin/lantern-box\n"
        "missing     /usr/share/a file\n"
        "??5?????? c /etc/lantern-box/config.json\n"
        "missing   c /etc/lantern-box/other.json\n"
    )
    assert parse_verify(said) == ("/usr/bin/lantern-box", "/usr/share/a file")


@pytest.mark.parametrize("said", ["", "dpkg: package 'x' is not installed\n", "missing\n"])
def test_what_names_no_file_names_no_damage(said: str) -> None:
    assert parse_verify(said) == ()
