"""A publication is complete: signed, dated, with indexes by hash, replaced by renames."""

import hashlib
import subprocess
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.image import architecture
from lab.packages import built_packages
from lab.repository import (
    SigningKey,
    make_signing_key,
    publish,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    folder = tmp_path_factory.mktemp("key")
    return make_signing_key(folder / "gnupg", folder / "key.asc")


@pytest.fixture(scope="module")
async def published(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    root = tmp_path_factory.mktemp("repository")
    publish(root, await built_packages(), key, architecture())
    return root


def fields(release: str) -> dict[str, str]:
    lines = [line for line in release.splitlines() if line and not line.startswith((" ", "-"))]
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def inodes(repository: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in repository.rglob("*.deb")}


def unfinished(repository: Path) -> list[Path]:
    return list(repository.rglob(".*"))


def test_both_signatures_are_valid(published: Path, key: SigningKey, tmp_path: Path) -> None:
    ring = tmp_path / "ring.gpg"
    ring.write_bytes(
        subprocess.run(
            ["gpg", "--dearmor"], input=key.public.read_bytes(), capture_output=True, check=True
        ).stdout
    )
    suite = published / "dists/stable"
    for files in (["InRelease"], ["Release.gpg", "Release"]):
        verified = subprocess.run(
            ["gpgv", "--keyring", str(ring), *files], cwd=suite, capture_output=True, check=False
        )
        assert verified.returncode == 0, verified.stderr


def test_the_release_file_has_the_fields_that_apt_needs(published: Path) -> None:
    release = fields((published / "dists/stable/Release").read_text())
    assert release["Suite"] == "stable"
    assert release["Components"] == "main"
    assert release["Architectures"] == architecture()
    assert release["Acquire-By-Hash"] == "yes"
    made, until = (parsedate_to_datetime(release[name]) for name in ("Date", "Valid-Until"))
    assert (until - made).days in {29, 30}


def test_every_index_is_also_available_by_hash(published: Path) -> None:
    suite = published / "dists/stable"
    listed = (suite / "Release").read_text().partition("SHA256:\n")[2].splitlines()
    entries = [line.split() for line in listed if line.startswith(" ")]
    assert {Path(name).name for _, _, name in entries} == {"Packages", "Packages.gz"}
    for digest, _, name in entries:
        by_hash = (suite / name).parent / "by-hash/SHA256" / digest
        assert hashlib.sha256(by_hash.read_bytes()).hexdigest() == digest
        assert by_hash.read_bytes() == (suite / name).read_bytes()


async def test_publishing_again_changes_no_package_and_leaves_no_temporary_file(
    published: Path, key: SigningKey
) -> None:
    packages = inodes(published)
    assert len(packages) == 6
    publish(published, await built_packages(), key, architecture())
    assert inodes(published) == packages
    assert unfinished(published) == []


def test_signing_leaves_no_agent(key: SigningKey, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("signed\n")
    for _ in range(20):
        key.gpg("--clear-sign", "--output", tmp_path / "signed", text)
        assert not list(key.folder.glob("S.gpg-agent*"))
    commands = [
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.is_dir()
    ]
    assert not [command for command in commands if str(key.folder).encode() in command]


def test_a_folder_with_a_too_long_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="path is too long"):
        make_signing_key(tmp_path / ("long" * 30), tmp_path / "key.asc")
