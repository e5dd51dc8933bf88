"""What a command knows of the job of GitHub Actions that it runs in."""

import os
from typing import TYPE_CHECKING

from pydantic import SecretStr

from starter.cli.errors import BadInputError

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.github_actions import GitHubJob


def job_variable(name: str) -> str:
    """Return a variable that GitHub Actions sets.

    Raises:
        BadInputError: it is not set.
    """
    value = os.environ.get(name, "")
    if not value:
        raise BadInputError(f"{name} is not set: this is for a job of GitHub Actions")
    return value


def github_job() -> "GitHubJob":
    """Return this job. The workflow has to put its token into GITHUB_TOKEN.

    Raises:
        BadInputError: it is none, or has no token.
    """
    from relight.github_actions import GitHubJob  # noqa: PLC0415 - httpx

    return GitHubJob(
        api_url=job_variable("GITHUB_API_URL"),
        repository=job_variable("GITHUB_REPOSITORY"),
        token=SecretStr(job_variable("GITHUB_TOKEN")),
    )
