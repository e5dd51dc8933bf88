"""Runs of a CI workflow: what the results of its jobs mean together. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class JobResult(StrEnum):
    """The result of a job, in GitHub's words."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class EndedJob(BaseModel):
    """A job of GitHub's context `needs`; its outputs are not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    result: JobResult


JobName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,99}$")]

Needs = Annotated[Mapping[JobName, EndedJob], Field(min_length=1, max_length=256)]
"""GitHub's context `needs`: the jobs that ended before, by their ids."""


class RunOutcome(StrEnum):
    """What a run has done.

    `nothing`: nothing failed, and not every job was needed.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOTHING = "nothing"


def outcome_of(needs: Mapping[JobName, EndedJob]) -> RunOutcome:
    """Return what the jobs have done together.

    A cancelled job counts as failed: GitHub cancels one that takes too long, and what it should do
    is not done.
    """
    results = {job.result for job in needs.values()}
    if results & {JobResult.FAILURE, JobResult.CANCELLED}:
        return RunOutcome.FAILED
    return RunOutcome.SUCCEEDED if results == {JobResult.SUCCESS} else RunOutcome.NOTHING
