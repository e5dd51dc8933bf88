"""The commands that a newcomer types first."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]


def test_make_alone_lists_every_target_with_what_it_does() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = dict(re.findall(r"^  make (\S+) +(\S.*)$", listed, re.MULTILINE))
    expected = {"help", "setup", "test", "demo", "check", "lock", "lab-image", "clean"}
    assert expected <= targets.keys()


def test_nothing_has_to_be_done_before_the_main_targets() -> None:
    for target in ("demo", "test", "check", "lab-image"):
        planned = subprocess.run(
            ["make", "--dry-run", "--always-make", target],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert planned.index("scripts/setup-packages") < planned.index("scripts/setup-python")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_can_be_run_and_stops_at_the_first_error(script: Path) -> None:
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text


def test_where_nothing_can_be_installed_set_up_says_what_is_missing_and_goes_on(
    tmp_path: Path,
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "env", "printf"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    # A Debian on which nothing is installed, under a user who may not install.
    for name, body in (("apt-get", "exit 9"), ("dpkg-query", "exit 1"), ("sudo", "exit 1")):
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (programs / name).chmod(0o755)
    script = (ROOT / "scripts" / "setup-packages").read_text()
    as_user = script.replace("((EUID == 0))", "((65534 == 0))")
    assert as_user != script
    ran = subprocess.run(
        ["bash", "-c", as_user],
        env={"PATH": str(programs)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    missing = re.search("missing: (.*)", ran.stderr)
    assert missing is not None
    assert {"systemd-container", "mmdebstrap", "postgresql"} <= set(missing[1].split())
    assert "apt-get install" in ran.stderr


def test_the_lock_names_every_dependency_by_version_and_hash_and_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=~!; ]", line)[0].lower() for line in wanted}
    assert names <= locked.keys()
    for entry in re.split(r"\n(?=[a-z0-9])", lock):
        if "==" in entry.partition("\n")[0]:
            assert "--hash=sha256:" in entry, entry.partition("\n")[0]
    assert "://" not in lock
    assert "--index-url" not in lock
    assert "--find-links" not in lock


def test_what_is_fetched_by_hash_can_build_the_project() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    lock = (ROOT / "requirements.lock").read_text()
    for requirement in requires:
        name = re.split(r"[<>=~!; ]", requirement)[0]
        assert re.search(rf"^{name}==", lock, re.MULTILINE), f"{name} is not in the lock"
