"""What the results of a run's jobs mean together."""

import pytest
from pydantic import TypeAdapter, ValidationError

from relight.domain.ci_run import EndedJob, Needs, RunOutcome, outcome_of

NEEDS: TypeAdapter[Needs] = TypeAdapter(Needs)


@pytest.mark.parametrize(
    ("results", "outcome"),
    [
        (("success",), RunOutcome.SUCCEEDED),
        (("success", "success"), RunOutcome.SUCCEEDED),
        (("success", "failure"), RunOutcome.FAILED),
        (("failure", "skipped"), RunOutcome.FAILED),
        (("success", "cancelled"), RunOutcome.FAILED),
        (("success", "skipped"), RunOutcome.NOTHING),
        (("skipped",), RunOutcome.NOTHING),
    ],
)
def test_an_outcome(results: tuple[str, ...], outcome: RunOutcome):
    needs = {f"job-{number}": EndedJob(result=each) for number, each in enumerate(results)}
    assert outcome_of(needs) is outcome


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"a": {}}',
        '{"a": {"result": "timed_out"}}',
        '{"a|b": {"result": "success"}}',
        '{"a": {"result": "success"}',
    ],
)
def test_what_is_no_context_of_github_is_refused(text: str):
    with pytest.raises(ValidationError):
        NEEDS.validate_json(text)


def test_the_outputs_of_jobs_are_not_read():
    read = NEEDS.validate_json('{"build": {"result": "success", "outputs": {"image": "x"}}}')
    assert read == {"build": EndedJob(result="success")}
