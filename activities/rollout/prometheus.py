"""A gate's check that is a query of Prometheus. Raises `CheckUnansweredError`."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal, NamedTuple

import httpx
from pydantic import BaseModel, Field, ValidationError

from activities.rollout.checks import CheckUnansweredError
from relight.domain.rollout.gate import CheckGateInput, GateChecked

ANSWER_CHARACTERS = 300
"""How much of an error's text is shown."""

NAMED_SAMPLES = 3

_WORD = re.compile(r"\$(release|scope)\b")


class Sample(NamedTuple):
    """A value, and what it is of."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Bounds:
    """What every sample has to be within; one of the two at least is set.

    Attributes:
        at_most: the greatest value that passes.
        at_least: the least.
    """

    at_most: float | None = None
    at_least: float | None = None

    def admit(self, value: float) -> bool:
        """Say whether a value is within; NaN never is."""
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )

    def __str__(self) -> str:
        least = "" if self.at_least is None else f"at least {self.at_least:g}"
        most = "" if self.at_most is None else f"at most {self.at_most:g}"
        return " and ".join(part for part in (least, most) if part)


@dataclass(frozen=True)
class PrometheusCheck:
    """Passes where an instant query gives samples, and each is within the bounds.

    Attributes:
        url: Prometheus, without `/api/v1`.
        query: PromQL, whose words `$release` and `$scope` are replaced.
        bounds: what every sample is compared with.
        timeout: how long the answer may take.
    """

    url: str
    query: str
    bounds: Bounds
    timeout: timedelta

    async def __call__(self, asked: CheckGateInput) -> GateChecked:
        """Ask Prometheus."""
        try:
            samples, warnings = samples_of(await self._ask(filled(self.query, asked)))
        except CheckUnansweredError as error:
            raise CheckUnansweredError(f"check {asked.name}: {error}") from error
        passed, seen = judge(samples, self.bounds)
        if warnings:
            seen += f" (Prometheus warns: {_short('; '.join(warnings))})"
        return GateChecked(name=asked.name, passed=passed, seen=seen)

    async def _ask(self, query: str) -> httpx.Response:
        limit = self.timeout.total_seconds()
        url = f"{self.url.rstrip('/')}/api/v1/query"
        try:
            # httpx's own limit is one on each read: an answer that trickles would never end.
            async with asyncio.timeout(limit), httpx.AsyncClient(timeout=limit) as http:
                return await http.get(url, params={"query": query})
        except (TimeoutError, httpx.TimeoutException) as error:
            raise CheckUnansweredError(f"no answer of Prometheus after {limit:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Without its address, in which there may be a password.
            text = str(error) or type(error).__name__
            raise CheckUnansweredError(f"Prometheus cannot be asked: {text}") from error


def filled(query: str, asked: CheckGateInput) -> str:
    """Return a query with `$release` and `$scope` replaced.

    By their patterns neither has a quote or a backslash in it, so that both are safe in a string
    of PromQL: `version="$release"`. In a regular expression (`=~`) their dots match anything.
    """
    words = {"release": asked.release_tag, "scope": asked.scope}
    return _WORD.sub(lambda found: words[found[1]], query)


class _Series(BaseModel):
    metric: dict[str, str] = {}
    value: tuple[float, float]


class _Vector(BaseModel):
    kind: Literal["vector"] = Field(alias="resultType")
    result: tuple[_Series, ...]


class _Scalar(BaseModel):
    kind: Literal["scalar"] = Field(alias="resultType")
    result: tuple[float, float]


class _Answer(BaseModel):
    data: Annotated[_Vector | _Scalar, Field(discriminator="kind")]
    warnings: tuple[str, ...] = ()


class _Refusal(BaseModel):
    error: str


def samples_of(answer: httpx.Response) -> tuple[Sequence[Sample], Sequence[str]]:
    """Return the samples of an answer to an instant query, and what Prometheus warns of.

    Raises:
        CheckUnansweredError: it is an error, or neither a vector nor a scalar.
    """
    if answer.status_code != httpx.codes.OK:
        status = f"{answer.status_code} {answer.reason_phrase}".rstrip()
        raise CheckUnansweredError(f"Prometheus answers {status}: {_refusal(answer)}")
    try:
        read = _Answer.model_validate_json(answer.content)
    except ValidationError as error:
        what = "Prometheus answers with neither a vector of numbers nor a scalar"
        raise CheckUnansweredError(f"{what}: {_short(answer.text)}") from error
    if isinstance(read.data, _Scalar):
        return [Sample({}, read.data.result[1])], read.warnings
    return [Sample(each.metric, each.value[1]) for each in read.data.result], read.warnings


def judge(samples: Sequence[Sample], bounds: Bounds) -> tuple[bool, str]:
    """Say whether all samples are within the bounds, and what was seen.

    No sample at all is no pass: a query that finds nothing knows nothing.
    """
    if not samples:
        return False, "the query finds no sample"
    outside = [sample for sample in samples if not bounds.admit(sample.value)]
    named = ", ".join(map(_told, (outside or samples)[:NAMED_SAMPLES]))
    more = len(outside or samples) - NAMED_SAMPLES
    if more > 0:
        named += f" and {more} more"
    return not outside, f"{named}; {bounds} passes"


def _told(sample: Sample) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.value:g} of {{{_short(labels)}}}" if labels else f"{sample.value:g}"


def _refusal(answer: httpx.Response) -> str:
    try:
        return _short(_Refusal.model_validate_json(answer.content).error)
    except ValidationError:
        return _short(answer.text)


def _short(text: str) -> str:
    return " ".join(text.split())[:ANSWER_CHARACTERS]
