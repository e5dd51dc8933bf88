"""The import rules of .importlinter hold, and each of them bites."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")
PACKAGES = sorted(path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")

FORBIDDEN = [
    ("messages", "import fleet", "Messages know pydantic alone"),
    ("messages", "import temporalio", "Messages know pydantic alone"),
    ("planning", "import remote", "Planning decides"),
    ("planning", "import httpx", "Planning decides"),
    ("fleet", "import temporalio", "What reaches the outside world knows messages"),
    ("remote", "import temporalio", "What reaches the outside world knows messages"),
    ("providers", "import remote", "does not know each other"),
    ("repositories", "import fleet", "does not know each other"),
    ("templates", "import planning", "What reaches the outside world knows messages"),
    ("activities", "import workflows", "Activities do not know who calls them"),
    ("workflows", "import httpx", "Workflows have no way to the outside world"),
    ("workflows", "import sqlmodel", "Workflows have no way to the outside world"),
    ("workflows", "import fleet", "Workflows have no way to the outside world"),
    ("workflows", "import activities", "only the steps refer to activities"),
    ("lab", "import messages", "The lab is a cloud like any other"),
    ("starter", "import providers", "The starter asks"),
    ("starter", "import activities", "only the steps refer to activities"),
    ("starter", "import worker", "Nobody imports the worker"),
    ("starter", "import bench", "Nobody imports the bench"),
    ("starter", "import chaos", "Nobody imports the bench"),
]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINTER, "--no-logo", "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root), "COLUMNS": "200", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's packages, empty, under the project's rules."""
    root = tmp_path_factory.mktemp("rules")
    shutil.copy(ROOT / ".importlinter", root)
    for package in PACKAGES:
        (root / package.name).mkdir()
        (root / package.name / "__init__.py").touch()
    (root / "workflows" / "steps.py").touch()
    (root / "worker.py").touch()
    return root


def test_the_project_keeps_them() -> None:
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_empty_packages_keep_them(bare: Path) -> None:
    linted = lint(bare)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize(("package", "statement", "rule"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_rule(
    bare: Path, package: str, statement: str, rule: str
) -> None:
    offender = bare / package / "offender.py"
    offender.write_text(f"{statement}\n")
    try:
        linted = lint(bare)
    finally:
        offender.unlink()
    assert linted.returncode == 1, linted.stdout + linted.stderr
    broken = linted.stdout.partition("Broken contracts")[2]
    assert rule in broken


def test_the_steps_may_refer_to_activities(bare: Path) -> None:
    steps = bare / "workflows" / "steps.py"
    steps.write_text("import activities\n")
    try:
        linted = lint(bare)
    finally:
        steps.write_text("")
    assert linted.returncode == 0, linted.stdout


def test_settings_know_nothing_but_messages() -> None:
    names = {package.name for package in PACKAGES} | {"worker"}
    tree = ast.parse((ROOT / "settings.py").read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported & names <= {"messages"}
