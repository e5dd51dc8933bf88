"""`relight image issue`: one issue on GitHub while base images cannot be published."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr, TypeAdapter, ValidationError

from relight.domain.ci_run import Needs
from starter.cli.errors import BadInputError, OperationFailedError
from starter.cli.output import JsonOption, print_done

if TYPE_CHECKING:  # slow to import: only this command needs it
    from relight.github_issue import IssueReported, Run

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
    from relight.github_issue import (  # noqa: PLC0415 - httpx
        GitHubRefusedError,
        GitHubUnavailableError,
        report_run,
    )

    run = _run(needs)
    url, token = _variable("GITHUB_API_URL"), SecretStr(_variable("GITHUB_TOKEN"))
    try:
        reported = asyncio.run(report_run(run, url, token))
    except (GitHubRefusedError, GitHubUnavailableError) as error:
        raise OperationFailedError(str(error)) from error
    print_done(_text(reported), reported, as_json=json)


def _run(needs: str) -> "Run":
    """Return the run that this job is part of.

    Raises:
        BadInputError: a variable of GitHub Actions is not set, or the jobs are not its JSON.
    """
    from relight.github_issue import Run  # noqa: PLC0415 - httpx

    try:
        jobs = _NEEDS.validate_json(needs)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "NEEDS"
        raise BadInputError(f"NEEDS is not `toJSON(needs)`: {place}: {first['msg']}") from None
    repository = _variable("GITHUB_REPOSITORY")
    number, attempt = _variable("GITHUB_RUN_ID"), _variable("GITHUB_RUN_ATTEMPT")
    page = f"{_variable('GITHUB_SERVER_URL')}/{repository}/actions/runs/{number}"
    return Run(repository=repository, url=f"{page}/attempts/{attempt}", needs=jobs)


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise BadInputError(f"{name} is not set: this command is for a job of GitHub Actions")
    return value


def _text(reported: "IssueReported") -> str:
    numbers = ", ".join(f"#{number}" for number in reported.issues)
    where = f" {numbers}" if numbers else ""
    change = "issue unchanged" if reported.change == "none" else f"issue {reported.change}"
    return f"run {reported.outcome}: {change}{where}"
