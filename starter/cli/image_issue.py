"""`relight image issue`: one issue on GitHub while base images cannot be published."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from relight.domain.ci_run import Needs
from starter.cli.errors import BadInputError, OperationFailedError
from starter.cli.github_job import github_job, job_variable
from starter.cli.output import JsonOption, print_done

if TYPE_CHECKING:  # slow to import: only this command needs it
    from relight.github_issue import EndedRun, IssueReported

app = typer.Typer()

_NEEDS: TypeAdapter[Needs] = TypeAdapter(Needs)


@app.command()
def issue(
    needs: Annotated[
        str, typer.Argument(metavar="NEEDS", help="The ended jobs: `toJSON(needs)` of GitHub.")
    ],
    json: JsonOption = False,
) -> None:
    """Open an issue on GitHub if a job failed, and close it if every job succeeded.

    There is one issue at a time: a further failure is a comment. A cancelled job counts as failed;
    a run that skipped jobs and failed none changes nothing. It is for the last job of a workflow,
    with `if: always()`, `permissions: issues: write` and GITHUB_TOKEN; the other GITHUB_* variables
    are those of GitHub Actions.

    [bold]Example:[/]

      relight image issue "$NEEDS"
    """
    from relight.github_actions import (  # noqa: PLC0415 - httpx
        GitHubRefusedError,
        GitHubUnavailableError,
    )
    from relight.github_issue import report_run  # noqa: PLC0415 - httpx

    run, job = _run(needs), github_job()
    try:
        reported = asyncio.run(report_run(job, run))
    except (GitHubRefusedError, GitHubUnavailableError) as error:
        raise OperationFailedError(str(error)) from error
    print_done(_text(reported), reported, as_json=json)


def _run(needs: str) -> "EndedRun":
    """Return the run that this job is part of.

    Raises:
        BadInputError: a variable of GitHub Actions is not set, or the jobs are not its JSON.
    """
    from relight.github_issue import EndedRun  # noqa: PLC0415 - httpx

    try:
        jobs = _NEEDS.validate_json(needs)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "NEEDS"
        raise BadInputError(f"NEEDS is not `toJSON(needs)`: {place}: {first['msg']}") from None
    runs = f"{job_variable('GITHUB_SERVER_URL')}/{job_variable('GITHUB_REPOSITORY')}/actions/runs"
    number, attempt = job_variable("GITHUB_RUN_ID"), job_variable("GITHUB_RUN_ATTEMPT")
    return EndedRun(url=f"{runs}/{number}/attempts/{attempt}", needs=jobs)


def _text(reported: "IssueReported") -> str:
    numbers = ", ".join(f"#{number}" for number in reported.issues)
    where = f" {numbers}" if numbers else ""
    change = "issue unchanged" if reported.change == "none" else f"issue {reported.change}"
    return f"run {reported.outcome}: {change}{where}"
