"""Jobs of the workflow `image`, played: their scripts run on a real checkout and a fake GitHub."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.setup.test_github_workflows import BASH, FOLDER, read
from tests.support.checkout import Checkout
from tests.support.fake_github_actions import REPOSITORY, TOKEN, FakeActions, fake_actions

EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")
CONDITION = re.compile(r"([\w.]+) (==|!=) '(\w*)'")


@dataclass
class Player:
    """Runs the scripts of a job as a runner does.

    Attributes:
        folder: the checkout.
        contexts: the values of expressions; what is missing is empty, as at GitHub.
        variables: of the environment.
    """

    folder: Path
    contexts: dict[str, str]
    variables: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)

    def play(self, job: dict[str, Any]) -> dict[str, str]:
        """Run each step whose condition holds, and return the outputs of the job."""
        for step in job["steps"]:
            if "run" in step and self._holds(step.get("if", "")):
                self._run(step)
        return {name: self._value(text) for name, text in job.get("outputs", {}).items()}

    def _run(self, step: dict[str, Any]) -> None:
        written = self.folder.parent / "outputs"
        written.write_text("")
        programs = Path(sys.executable).parent
        subprocess.run(
            ["bash", "-c", BASH + step["run"]],
            cwd=self.folder,
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "GITHUB_OUTPUT": str(written),
                **self.variables,
                **{name: self._value(text) for name, text in step.get("env", {}).items()},
            },
            check=True,
            timeout=60,
        )
        for line in written.read_text().splitlines():
            name, _, value = line.partition("=")
            self.contexts[f"steps.{step['id']}.outputs.{name}"] = value

    def _value(self, text: str) -> str:
        return EXPRESSION.sub(lambda found: self.contexts.get(found[1], ""), text)

    def _holds(self, condition: str) -> bool:
        if not condition:
            return True
        compared = CONDITION.fullmatch(condition)
        assert compared is not None, condition
        is_equal = self.contexts.get(compared[1], "") == compared[3]
        return is_equal is (compared[2] == "==")


@pytest.fixture
def github() -> Iterator[FakeActions]:
    with fake_actions() as made:
        yield made


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "checkout")
    made.git("tag", "v0.0.74")
    return made


@pytest.fixture
def player(github: FakeActions, checkout: Checkout, tmp_path: Path) -> Player:
    fleet = tmp_path / "providers.toml"
    fleet.write_text(
        """
[linode]
token_file = "nowhere"
[linode.locations.us-east]
shapes = ["g6-nanode-1"]
image_prefix = "relight-base-"
"""
    )
    variables = {
        "GITHUB_API_URL": github.url,
        "GITHUB_REF_NAME": "main",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_RUN_ID": "17",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_WORKFLOW_REF": f"{REPOSITORY}/.github/workflows/image.yml@refs/heads/main",
        "HOME": str(tmp_path),
        "RELIGHT_HOME": str(tmp_path / "home"),
        "RELIGHT_PROVIDERS_FILE": str(fleet),
    }
    contexts = {"github.event_name": "push", "github.token": TOKEN}
    return Player(checkout.folder, contexts, variables)


JOBS = read(FOLDER / "workflows" / "image.yml")["jobs"]


def test_a_push_after_the_last_image_finds_nothing_to_do(
    github: FakeActions, checkout: Checkout, player: Player
):
    github.runs = [("main", "success", checkout.git("rev-parse", "HEAD"))]
    checkout.commit("worker.py", "no input")
    assert player.play(JOBS["inputs"]) == {"changed": "false", "label": "", "matrix": ""}


def test_a_push_that_changes_an_input_gives_label_and_matrix(
    github: FakeActions, checkout: Checkout, player: Player
):
    github.runs = [("main", "success", checkout.git("rev-parse", "HEAD"))]
    checkout.commit("images/contract.yaml", "changed")
    found = player.play(JOBS["inputs"])
    assert (found["changed"], found["label"]) == ("true", "0.0.74-1")
    [image] = json.loads(found["matrix"])["include"]
    assert image["image"] == "relight-base-0.0.74-1-amd64"


def test_who_starts_it_by_hand_gets_an_image_with_the_typed_label(
    github: FakeActions, player: Player
):
    player.contexts |= {"github.event_name": "workflow_dispatch", "inputs.label": "hotfix"}
    found = player.play(JOBS["inputs"])
    assert (found["changed"], found["label"]) == ("", "hotfix")
    assert "relight-base-hotfix-amd64" in found["matrix"]
    assert github.requests == []


def test_a_typed_tag_stops_the_job(player: Player, capfd: pytest.CaptureFixture[str]):
    player.contexts |= {"github.event_name": "workflow_dispatch", "inputs.label": "v0.0.74"}
    with pytest.raises(subprocess.CalledProcessError):
        player.play(JOBS["inputs"])
    assert "a label has no v: 0.0.74" in " ".join(capfd.readouterr().err.split())


def test_the_issue_follows_the_results_of_the_jobs(github: FakeActions, player: Player):
    ended = {name: {"result": "success", "outputs": {}} for name in JOBS["issue"]["needs"]}
    player.contexts["toJSON(needs)"] = json.dumps({**ended, "publish": {"result": "failure"}})
    player.play(JOBS["issue"])
    assert github.open == [1]
    player.contexts["toJSON(needs)"] = json.dumps(ended, indent=2)
    player.play(JOBS["issue"])
    assert github.open == []
