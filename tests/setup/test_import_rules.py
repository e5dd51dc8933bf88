"""The import rules of .importlinter hold, each of them bites, and no imports form a circle."""

import ast
import re
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")
PACKAGES = ("activities", "devkit", "lab", "relight", "starter", "workflows")

FORBIDDEN = [
    ("relight.domain", "temporalio", "The domain knows pydantic and the standard library"),
    ("relight.domain", "relight.store", "The domain knows pydantic and the standard library"),
    ("relight.domain", "httpx", "The domain knows pydantic and the standard library"),
    ("relight.store", "temporalio", "Store, hosts, releases, providers and images know the domain"),
    ("relight.hosts", "temporalio", "Store, hosts, releases, providers and images know the domain"),
    (
        "relight.releases",
        "relight.settings",
        "Store, hosts, releases, providers and images know the domain",
    ),
    ("relight.providers", "relight.hosts", "do not know each other"),
    ("relight.releases", "relight.store", "do not know each other"),
    ("relight.images", "relight.providers", "do not know each other"),
    ("relight.engine", "activities", "Every arrow points downwards"),
    ("relight.store", "workflows", "Every arrow points downwards"),
    ("activities", "workflows", "Every arrow points downwards"),
    ("workflows", "starter", "Every arrow points downwards"),
    ("activities", "relight.settings", "Activities do not know the settings"),
    ("workflows", "httpx", "Workflows have no way to the outside world"),
    ("workflows", "sqlmodel", "Workflows have no way to the outside world"),
    ("workflows", "relight.store", "Workflows have no way to the outside world"),
    ("workflows.route", "activities", "only the steps refer to activities"),
    ("lab", "relight.domain", "The lab is a cloud like any other"),
    ("starter", "relight.providers", "The starter asks"),
    ("starter", "activities", "only the steps refer to activities"),
    ("starter", "worker", "Nobody imports the worker"),
    ("relight.hosts", "worker", "Nobody imports the worker"),
    ("starter", "devkit", "Nobody imports the devkit"),
    ("lab", "devkit", "Nobody imports the devkit"),
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


def empty_packages(root: Path) -> Path:
    """Return a folder with the project's packages, empty, under the project's rules."""
    shutil.copy(ROOT / ".importlinter", root)
    for package in PACKAGES:
        for found in (ROOT / package).rglob("__init__.py"):
            copy = root / found.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
    for folder in (root / "workflows").iterdir():
        if folder.is_dir():
            (folder / "steps.py").write_text("import activities\n")
    (root / "relight" / "settings.py").touch()
    (root / "worker.py").touch()
    return root


def test_the_project_keeps_them() -> None:
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_packages_whose_steps_refer_to_activities_keep_them(tmp_path: Path) -> None:
    linted = lint(empty_packages(tmp_path))
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The offending modules by rule: there is one for each forbidden import."""
    root = empty_packages(tmp_path_factory.mktemp("rules"))
    for number, (package, imported, _) in enumerate(FORBIDDEN):
        offender = root / package.replace(".", "/") / f"offender_{number}.py"
        offender.write_text(f"import {imported}\n")
    linted = lint(root)
    assert linted.returncode == 1, linted.stdout + linted.stderr
    offenders: dict[str, set[str]] = {}
    lines = linted.stdout.partition("Broken contracts")[2].splitlines()
    rule = ""
    for line, following in pairwise(lines):
        if line and set(following) == {"-"}:
            rule = line
        offenders.setdefault(rule, set()).update(re.findall(r"(\S+\.offender_\d+) ->", line))
    return offenders


@pytest.mark.parametrize(
    "number", range(len(FORBIDDEN)), ids=lambda n: " > ".join(FORBIDDEN[n][:2])
)
def test_a_forbidden_import_breaks_its_rule(broken: dict[str, set[str]], number: int) -> None:
    package, _, name = FORBIDDEN[number]
    [offenders] = [found for rule, found in broken.items() if name in rule]
    assert f"{package}.offender_{number}" in offenders


def test_no_imports_form_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imports = {
        module: graph.find_modules_directly_imported_by(module) - {module}
        for module in graph.modules
    }
    TopologicalSorter(imports).prepare()  # Raises CycleError, which names the circle.


def test_the_settings_know_the_domain_and_the_context_alone() -> None:
    files = (
        *("settings.py", "setting_groups.py", "gate_check_settings.py", "temporal_settings.py"),
        *("service_file.py", "provider_settings.py", "toml_file.py"),
    )
    for file in files:
        tree = ast.parse((ROOT / "relight" / file).read_text())
        imported = [
            node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        ]
        ours = [name for name in imported if name.partition(".")[0] in (*PACKAGES, "worker")]
        allowed = (
            *("relight.context", "relight.domain."),
            *("relight.setting_groups", "relight.gate_check_settings", "relight.service_file"),
            *("relight.temporal_settings", "relight.provider_settings", "relight.toml_file"),
        )
        assert [name for name in ours if not name.startswith(allowed)] == []
