"""`relight image issue`, as a job of GitHub Actions calls it."""

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.starter.in_process import InProcess
from tests.starter.stores import refused
from tests.support.fake_github_actions import REPOSITORY, TOKEN, FakeActions, fake_actions


@pytest.fixture
def github() -> Iterator[FakeActions]:
    with fake_actions() as made:
        yield made


@pytest.fixture
def job(github: FakeActions) -> Mapping[str, str]:
    return {
        "GITHUB_API_URL": github.url,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ATTEMPT": "2",
        "GITHUB_RUN_ID": "17",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_TOKEN": TOKEN,
    }


def needs(publish: str) -> str:
    return json.dumps({"publish": {"result": publish, "outputs": {"image": "x"}}})


async def test_an_issue_is_opened_and_closed(
    relight: InProcess, github: FakeActions, job: Mapping[str, str]
):
    failed = await relight.where(**job)("image", "issue", needs("failure"))
    assert (failed.code, failed.out) == (0, "run failed: issue opened #1\n")
    assert f"https://github.com/{REPOSITORY}/actions/runs/17/attempts/2" in github.issues[0]["body"]
    nothing = await relight.where(**job)("image", "issue", needs("skipped"))
    assert nothing.out == "run nothing: issue unchanged\n"
    done = await relight.where(**job)("image", "issue", needs("success"), "--json")
    assert done.json == {"outcome": "succeeded", "change": "closed", "issues": [1]}
    assert github.open == []


async def test_a_refusal_of_github_is_shown_without_the_token(
    relight: InProcess, job: Mapping[str, str]
):
    words = ("image", "issue", needs("failure"))
    ended = await relight.where(**{**job, "GITHUB_TOKEN": "ghs_wrong"})(*words)
    refused(ended, 1, "in its `permissions`")
    assert "ghs_wrong" not in ended.said


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"])
async def test_outside_of_a_job_it_names_what_is_missing(
    relight: InProcess, job: Mapping[str, str], name: str
):
    ended = await relight.where(**{**job, name: ""})("image", "issue", needs("failure"))
    refused(ended, 2, f"{name} is not set")


async def test_what_is_not_the_context_of_the_jobs_is_refused(
    relight: InProcess, job: Mapping[str, str]
):
    refused(await relight.where(**job)("image", "issue", "failure"), 2, "not `toJSON(needs)`")
    text = '{"publish": {"result": "great"}}'
    refused(await relight.where(**job)("image", "issue", text), 2, "publish.result")
