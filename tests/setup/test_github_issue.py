"""One issue on GitHub while a workflow fails: opened, continued, closed by the next success."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from relight.domain.ci_run import EndedJob, JobResult, RunOutcome
from relight.github_actions import (
    ATTEMPTS,
    GitHubJob,
    GitHubRefusedError,
    GitHubUnavailableError,
)
from relight.github_issue import (
    LABEL,
    MARK,
    EndedRun,
    IssueChange,
    IssueReported,
    report_run,
)
from tests.support.fake_github_actions import REPOSITORY, TOKEN, FakeActions, Trap, fake_actions

RUN = f"https://github.com/{REPOSITORY}/actions/runs/17/attempts/1"
NEXT_RUN = f"https://github.com/{REPOSITORY}/actions/runs/18/attempts/1"
PASSING = [
    Trap.UNANSWERED,
    Trap.REPLY_LOST,
    Trap.SERVER_ERROR,
    Trap.SECONDARY_LIMIT,
    Trap.PRIMARY_LIMIT,
    Trap.TOO_MANY,
]


@pytest.fixture
def github() -> Iterator[FakeActions]:
    with fake_actions() as made:
        yield made


async def report(
    github: FakeActions, publish: str, *, url: str = RUN, token: str = TOKEN
) -> IssueReported:
    needs = {"build": EndedJob(result=JobResult.SUCCESS), "publish": EndedJob(result=publish)}
    job = GitHubJob(github.url, REPOSITORY, SecretStr(token))
    return await report_run(job, EndedRun(url=url, needs=needs), pause=timedelta())


async def test_the_first_failure_opens_an_issue_that_names_the_run_and_the_job(github: FakeActions):
    reported = await report(github, "failure")
    assert (reported.outcome, reported.change) == (RunOutcome.FAILED, IssueChange.OPENED)
    [issue] = github.issues
    assert reported.issues == (issue["number"],)
    assert RUN in issue["body"]
    assert "| publish | failure |" in issue["body"]
    assert [label["name"] for label in issue["labels"]] == [LABEL]


async def test_further_failures_are_comments_and_the_next_success_closes_it(github: FakeActions):
    await report(github, "failure")
    again = await report(github, "cancelled", url=NEXT_RUN)
    assert (again.change, again.issues) == (IssueChange.COMMENTED, (1,))
    assert NEXT_RUN in github.comments[1][0]
    assert "| publish | cancelled |" in github.comments[1][0]
    closed = await report(github, "success", url=NEXT_RUN)
    assert (closed.change, closed.issues) == (IssueChange.CLOSED, (1,))
    assert github.open == []
    assert github.issues[0]["state_reason"] == "completed"
    assert len(github.comments[1]) == 2
    later = await report(github, "failure")
    assert (later.change, later.issues) == (IssueChange.OPENED, (2,))


async def test_the_same_run_is_reported_once(github: FakeActions):
    await report(github, "failure")
    assert (await report(github, "failure")).change is IssueChange.NONE
    await report(github, "failure", url=NEXT_RUN)
    assert (await report(github, "failure", url=NEXT_RUN)).change is IssueChange.NONE
    assert len(github.comments[1]) == 1


async def test_another_attempt_of_the_run_is_another_run(github: FakeActions):
    await report(github, "failure", url=f"{RUN}2")
    assert (await report(github, "failure", url=RUN)).change is IssueChange.COMMENTED


async def test_a_run_that_had_nothing_to_publish_changes_nothing(github: FakeActions):
    await report(github, "failure")
    requests = len(github.requests)
    reported = await report(github, "skipped", url=NEXT_RUN)
    assert (reported.outcome, reported.change) == (RunOutcome.NOTHING, IssueChange.NONE)
    assert (github.open, len(github.requests)) == ([1], requests)


async def test_a_success_without_an_issue_changes_nothing(github: FakeActions):
    reported = await report(github, "success")
    assert (reported.change, github.issues) == (IssueChange.NONE, [])


async def test_issues_and_pull_requests_of_people_are_left_alone(github: FakeActions):
    github.add("we should use this label", "as a person says", LABEL)
    github.add("no text", None, LABEL)
    github.add("a quoted mark", f"why is {MARK} there?")
    github.add("a pull request", f"it fixes {MARK}", LABEL, pull_request=True)
    await report(github, "failure")
    assert github.open == [1, 2, 3, 4, 5]
    await report(github, "success")
    assert github.open == [1, 2, 3, 4]
    assert [issue["title"] for issue in github.issues if issue["state"] == "closed"] == [
        "The base image was not published"
    ]


async def test_the_issue_is_found_behind_a_page_of_others(github: FakeActions):
    await report(github, "failure")
    for number in range(150):
        github.add(f"another {number}", "of a person", LABEL)
    assert (await report(github, "failure", url=NEXT_RUN)).issues == (1,)
    assert (await report(github, "success")).issues == (1,)
    assert 1 not in github.open


async def test_a_run_is_found_behind_a_page_of_comments(github: FakeActions):
    await report(github, "failure")
    github.comments[1] = [f"{number}" for number in range(100)] + [NEXT_RUN]
    assert (await report(github, "failure", url=NEXT_RUN)).change is IssueChange.NONE


async def test_twins_of_two_runs_at_once_are_closed_together(github: FakeActions):
    github.add("first", MARK, LABEL)
    github.add("second", MARK, LABEL)
    assert (await report(github, "failure")).issues == (1,)
    assert (await report(github, "success")).issues == (1, 2)
    assert github.open == []


async def test_a_label_that_was_left_out_is_set_so_that_the_next_run_finds_it(github: FakeActions):
    github.drops_labels = True
    await report(github, "failure")
    assert (await report(github, "failure", url=NEXT_RUN)).change is IssueChange.COMMENTED
    assert github.open == [1]


async def test_a_deleted_issue_is_a_closed_one(github: FakeActions):
    github.add("first", MARK, LABEL)
    github.gone.add(1)
    assert (await report(github, "success")).issues == (1,)
    assert not any(github.comments.values())


@pytest.mark.parametrize("trap", PASSING)
async def test_what_passes_opens_one_issue(github: FakeActions, trap: Trap):
    github.traps = {("GET", "/issues"): [trap], ("POST", "/issues"): [trap] * (ATTEMPTS - 2)}
    reported = await report(github, "failure")
    assert reported.outcome is RunOutcome.FAILED
    assert github.open == [1]
    assert not any(github.comments.values())


@pytest.mark.parametrize("trap", PASSING)
async def test_what_passes_comments_once(github: FakeActions, trap: Trap):
    await report(github, "failure")
    github.traps = {("POST", "/comments"): [trap] * (ATTEMPTS - 1)}
    await report(github, "failure", url=NEXT_RUN)
    assert len(github.comments[1]) == 1


@pytest.mark.parametrize("trap", PASSING)
async def test_what_passes_closes_it(github: FakeActions, trap: Trap):
    await report(github, "failure")
    github.traps = {("PATCH", "/1"): [trap] * (ATTEMPTS - 1)}
    await report(github, "success", url=NEXT_RUN)
    assert github.open == []


async def test_what_does_not_pass_is_said_with_the_request(github: FakeActions):
    github.traps = {("GET", "/issues"): [Trap.SERVER_ERROR] * ATTEMPTS}
    with pytest.raises(GitHubUnavailableError, match=r"GET /issues.*: 502 Bad Gateway.*Unicorn"):
        await report(github, "failure")
    assert len(github.requests) == ATTEMPTS


@pytest.mark.parametrize(
    ("trap", "words"),
    [
        (Trap.NO_PERMISSION, r"403.*not accessible by integration.*\n.*in its `permissions`"),
        (Trap.LOGIN_PAGE, "no answer of GitHub's API"),
    ],
)
async def test_a_refusal_is_not_repeated_and_says_what_is_missing(
    github: FakeActions, trap: Trap, words: str
):
    github.traps = {("POST", "/issues"): [trap]}
    with pytest.raises(GitHubRefusedError, match=words):
        await report(github, "failure")
    assert [method for method, _ in github.requests] == ["GET", "POST"]


async def test_a_wrong_token_is_refused_and_not_shown(github: FakeActions):
    with pytest.raises(GitHubRefusedError, match="401") as refused:
        await report(github, "failure", token="ghs_wrong")
    assert "ghs_wrong" not in str(refused.value)


async def test_a_repository_without_issues_is_named(github: FakeActions):
    github.has_issues = False
    with pytest.raises(GitHubRefusedError, match="no issues here: enable them"):
        await report(github, "failure")


async def test_more_issues_than_are_read_are_not_taken_for_none(
    github: FakeActions, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("relight.github_issue._MAX_PAGES", 1)
    for number in range(100):
        github.add(f"another {number}", "of a person", LABEL)
    with pytest.raises(GitHubRefusedError, match="more than 100 open issues"):
        await report(github, "failure")
    assert len(github.issues) == 100


async def test_the_name_of_a_job_is_no_markup(github: FakeActions):
    job = GitHubJob(github.url, REPOSITORY, SecretStr(TOKEN))
    needs = {"a_b": EndedJob(result=JobResult.FAILURE)}
    await report_run(job, EndedRun(RUN, needs), pause=timedelta())
    assert r"| a\_b | failure |" in github.issues[0]["body"]
