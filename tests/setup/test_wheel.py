"""The wheel: what it puts into site-packages, and that it works without the checkout."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from devkit.house.code import build_wheel, names_in

NAMES = ["activities", "relight", "starter", "worker", "workflows"]

MIGRATES = """
from relight.domain.base import Origin
from relight.store.store import open_upgraded_store
from relight.store.events import Operation

operation = Operation(origin=Origin(requested_by="me", reason="to see"))
with open_upgraded_store("sqlite:///fleet.db") as store:
    store.tracks.set("stable", None, operation)
    print([track.name for track in store.tracks.list()])
"""

RENDERS = """
from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import SERVICE_FILES, UserDataTemplate

UserDataTemplate(None, SERVICE_FILES, {}, [])
print(len(host_program.text()) > 1000, len(list(SERVICE_FILES.rglob("*.j2"))) > 0)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv outside the checkout, with the wheel and its dependencies.

    The dependencies are the checkout's own, found by a `.pth` file. The checkout itself is on its
    path by such a file too, and those do not nest.
    """
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder)
    python = folder / "bin" / "python"
    [site] = folder.glob("lib/python*/site-packages")
    argv = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    argv += ["--python", str(python), "install", "--no-deps", str(wheel)]
    subprocess.run(argv, check=True)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def run(python: Path, *argv: str, cwd: Path | None = None) -> str:
    ran = subprocess.run(
        [str(python.with_name(argv[0])), *argv[1:]],
        cwd=cwd or python.parent,
        env={"PATH": "/usr/bin:/bin", "RELIGHT_HOME": str(python.parent / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_wheel_brings_five_names(wheel: Path) -> None:
    assert names_in(wheel) == NAMES


def test_the_code_is_the_wheels(python: Path) -> None:
    found = run(python, "python", "-c", "import relight; print(relight.__file__)")
    assert Path(found).is_relative_to(python.parent.parent)


@pytest.mark.parametrize("command", [(), ("worker",), ("rollout", "start")])
def test_the_command_explains_itself(python: Path, command: tuple[str, ...]) -> None:
    assert "Usage" in run(python, "relight", *command, "--help")


def test_a_store_is_migrated(python: Path, tmp_path: Path) -> None:
    assert run(python, "python", "-c", MIGRATES, cwd=tmp_path).strip() == "['stable']"


def test_the_templates_and_the_host_program_are_in_it(python: Path) -> None:
    assert run(python, "python", "-c", RENDERS).strip() == "True True"


def test_the_manual_page_is_installed(python: Path) -> None:
    assert (python.parent.parent / "share/man/man1/relight.1").is_file()
