"""The image of the worker: what goes into it, and that its lock file is that of the tests."""

import fnmatch
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devkit.house.code import build_wheel, names_in, tracked
from tests.setup.test_compose import DIGEST
from tests.support.compose import ROOT

DOCKERFILE = ROOT / "Dockerfile"
LOCK = ROOT / "requirements-worker.lock"

# One entry: the name with its version, perhaps a marker, and the hashes.
ENTRY = re.compile(
    r"^([\w.-]+)==(\S+)(?: ; ([^\\\n]+?))? \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE
)


def entries(lock: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the version and the hashes of each package of a lock file."""
    found = ENTRY.finditer(lock.read_text())
    return {each[1]: (each[2], tuple(re.findall(r"sha256:\w+", each[4]))) for each in found}


def needed() -> set[str]:
    """Return the names of all that the program needs here, as the installed packages say it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["images"]]
    asked = [Requirement(line) for line in declared]
    found: dict[str, set[str]] = {}
    while asked:
        requirement = asked.pop()
        name, extras = canonicalize_name(requirement.name), {"", *requirement.extras}
        if extras <= found.get(name, set()):
            continue
        found.setdefault(name, set()).update(extras)
        for line in importlib.metadata.requires(name) or ():
            each = Requirement(line)
            if each.marker is None or any(each.marker.evaluate({"extra": x}) for x in extras):
                asked.append(each)
    return set(found)


def holds_here(marker: str | None) -> bool:
    return marker is None or Marker(marker).evaluate()


def test_its_versions_and_hashes_are_those_of_the_tests() -> None:
    worker, tests = entries(LOCK), entries(ROOT / "requirements.lock")
    assert len(worker) > 30
    assert worker.items() <= tests.items()


def test_it_has_all_that_the_program_needs_and_nothing_of_tests_and_labs() -> None:
    locked = {
        canonicalize_name(each[1])
        for each in ENTRY.finditer(LOCK.read_text())
        if holds_here(each[3])
    }
    assert locked == needed()


def test_both_stages_are_of_one_pinned_image_and_the_last_is_not_roots() -> None:
    text = DOCKERFILE.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert DIGEST.fullmatch(bases[0])
    last = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", last, re.MULTILINE) == ["relight"]
    assert "pip" not in last


def test_what_is_sent_to_the_builder_makes_the_whole_wheel(tmp_path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for name in tracked():
        if any(name == each or name.startswith(f"{each}/") for each in kept):
            target = tmp_path / "context" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    assert (tmp_path / "context" / LOCK.name).is_file()
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    argv += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), "."]
    subprocess.run(argv, cwd=tmp_path / "context", check=True)
    [wheel] = tmp_path.glob("relight-*.whl")
    whole = build_wheel(tmp_path / "whole")
    assert names_in(wheel) == names_in(whole)
    assert _files(wheel) == _files(whole)


def _files(wheel: Path) -> list[str]:
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "--list", wheel],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(line.split()[0] for line in listed.stdout.splitlines()[1:])


@pytest.mark.parametrize("secret", ["fleet/linode-token", "passwords/relight"])
def test_no_secret_beside_it_is_sent_to_the_builder(secret: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert not any(fnmatch.fnmatch(secret, each) or secret.startswith(each) for each in kept)
    asked = subprocess.run(["git", "check-ignore", "--quiet", secret], cwd=ROOT, check=False)
    assert asked.returncode == 0, f"git would take {secret}"
