"""What can be counted without a run: lengths of files, mentions of activities, the wheel."""

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, get_type_hints
from zipfile import ZipFile

import activities
from relight.engine.step import Step

ROOT = Path(__file__).parents[2]
FAULT_TABLE = "relight/domain/fault/table.py"
"""One table, which may be longer than other files."""


def tracked(*patterns: str) -> list[str]:
    """Return the tracked and the new files that match git's patterns, relative to the checkout."""
    listed = subprocess.run(  # noqa: S603 - patterns of this package
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],  # noqa: S607 - as installed
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split() if (ROOT / name).is_file()]


def lengths() -> Mapping[str, int]:
    """Return the number of lines of each Python file outside tests; empty files do not count."""
    counts = {
        name: len((ROOT / name).read_text().splitlines())
        for name in tracked("*.py")
        if not name.startswith("tests/")
    }
    return {name: count for name, count in counts.items() if count}


def median_and_longest() -> tuple[float, str, int]:
    """Return the median length, and the longest file but the fault table with its length."""
    found = lengths()
    longest = max((name for name in found if name != FAULT_TABLE), key=lambda name: found[name])
    return median(found.values()), longest, found[longest]


def files_of_activities() -> Mapping[str, Sequence[str]]:
    """Return for each activity the files outside tests that name it or its input."""
    texts = {
        name: (ROOT / name).read_text()
        for name in tracked("*.py")
        if name.split("/")[0] not in {"tests", "devkit"}
    }
    return {
        name: sorted(
            file
            for file, text in texts.items()
            if f"{owner.__name__}.{name}" in text
            or f"def {name}(" in text
            or f"class {_input_of(member)}(" in text
        )
        for owner in _activity_classes()
        for name, member in vars(owner).items()
        if isinstance(member, Step)
    }


def _activity_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(activities.__path__, "activities."):
        for member in vars(importlib.import_module(module.name)).values():
            if isinstance(member, type) and member.__module__ == module.name:
                yield member


def _input_of(step: Any) -> str:
    return str(get_type_hints(step.__wrapped__)["input"].__name__)


def wheel_names() -> list[str]:
    """Return the names that the wheel puts into site-packages, its metadata apart."""
    with TemporaryDirectory(prefix="relight-wheel-") as folder:
        return names_in(build_wheel(Path(folder)))


def names_in(wheel: Path) -> list[str]:
    """Return the names that a wheel puts into site-packages, its metadata apart; sorted.

    What is in `.data` goes elsewhere: the manual page.
    """
    apart = (".dist-info", ".data")
    with ZipFile(wheel) as contents:
        tops = {name.split("/")[0] for name in contents.namelist()}
    return sorted(name.removesuffix(".py") for name in tops if not name.endswith(apart))


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel into a folder, from a copy of what git tracks; return its path."""
    copy = folder / "source"
    for name in tracked():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--quiet", "--no-deps"]
    argv += ["--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", str(folder)]
    subprocess.run([*argv, "."], cwd=copy, check=True)  # noqa: S603 - pip of this interpreter
    (wheel,) = folder.glob("relight-*.whl")
    return wheel
