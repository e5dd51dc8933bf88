"""Next versions of packages: what is locked to each other moves, and dpkg accepts the result."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from lab import debian
from lab.debian import Deb, DebianPackage
from tests.support.debs import build_deb

VERSION, TOOLS, DATA = "5:1.0-1~deb12u1", "5:1.0-1~deb12u1+b2", "5:1.0-1~deb12u1"


def built(folder: Path, name: str, version: str, architecture: str, depends: str) -> Deb:
    file = folder / f"{name}.deb"
    build_deb(file, name, version, architecture, depends=depends, files={f"/usr/lib/{name}": name})
    return Deb(file, name, version, architecture)


@pytest.fixture
def repacked(tmp_path: Path) -> dict[str, Path]:
    """The next versions of a server and its two siblings, by package."""
    tools = f"server-tools (= {TOOLS}), libc6 (>= 2.36) | libc6 (= {VERSION})"
    debs = (
        built(tmp_path, "server", VERSION, "amd64", f"{tools}, server-data (= {DATA})"),
        built(tmp_path, "server-tools", TOOLS, "amd64", "server-data (>= 5:1.0), libc6"),
        built(tmp_path, "server-data", DATA, "all", ""),
    )
    debian.repack(DebianPackage("server", VERSION, tmp_path, debs), tmp_path / "next")
    return {file.name.partition("_")[0]: file for file in (tmp_path / "next").glob("*.deb")}


def field(deb: Path, name: str) -> str:
    shown = subprocess.run(["dpkg-deb", "--field", deb, name], capture_output=True, check=True)
    return shown.stdout.decode().strip()


def test_all_of_a_source_move_with_the_dependencies_that_name_their_version(
    repacked: dict[str, Path],
) -> None:
    assert {name: field(deb, "Version") for name, deb in repacked.items()} == {
        "server": f"{VERSION}+next1",
        "server-tools": f"{TOOLS}+next1",
        "server-data": f"{DATA}+next1",
    }
    assert field(repacked["server"], "Depends") == (
        f"server-tools (= {TOOLS}+next1), libc6 (>= 2.36) | libc6 (= {VERSION}), "
        f"server-data (= {DATA}+next1)"
    )
    assert field(repacked["server-tools"], "Depends") == "server-data (>= 5:1.0), libc6"
    assert repacked["server-data"].name == "server-data_1.0-1~deb12u1+next1_all.deb"


def test_each_has_its_files_and_one_more(repacked: dict[str, Path], tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", repacked["server"], tmp_path / "x"], check=True)
    files = {file for file in (tmp_path / "x").rglob("*") if file.is_file()}
    assert {str(file.relative_to(tmp_path / "x")) for file in files} == {
        "usr/lib/server",
        f"{debian.CONTENT}/server",
    }
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert hashlib.sha256(b"server").hexdigest() in digests


def test_the_next_version_is_newer_and_below_the_bound_of_the_next_upload(
    repacked: dict[str, Path],
) -> None:
    def compare(first: str, relation: str, second: str) -> bool:
        return not subprocess.run(
            ["dpkg", "--compare-versions", first, relation, second], check=False
        ).returncode

    assert compare(field(repacked["server"], "Version"), "gt", VERSION)
    assert compare(field(repacked["server"], "Version"), "lt", "5:1.0-1.1~")
