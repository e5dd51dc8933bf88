"""A gate check that queries Prometheus. It raises `CheckUnansweredError`."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal, NamedTuple

import httpx
from pydantic import BaseModel, Field, ValidationError

from activities.rollout.checks import CheckUnansweredError
from relight.bounded import GZIP, AnswerRefusedError, read_bounded
from relight.domain.duration import span
from relight.domain.error_words import error_words
from relight.domain.names import package_tag
from relight.domain.rollout.gate import CheckGateInput, GateChecked

ANSWER_CHARACTERS = 300
"""How much of an error text is shown."""

SHOWN_SAMPLES = 3

MAX_ANSWER_BYTES = 1024 * 1024
"""Some ten thousand samples. A query of a check returns a few."""

_WORD = re.compile(r"\$(release|scope)\b")


class Sample(NamedTuple):
    """A value with its labels."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Bounds:
    """The range that every sample must be in. At least one of the two is set.

    Attributes:
        max_value: the greatest value that passes.
        min_value: the smallest value that passes.
    """

    max_value: float | None = None
    min_value: float | None = None

    def admit(self, value: float) -> bool:
        """Return whether a value is in the range; NaN never is."""
        return (self.max_value is None or value <= self.max_value) and (
            self.min_value is None or value >= self.min_value
        )

    def __str__(self) -> str:
        least = "" if self.min_value is None else f"at least {self.min_value:g}"
        most = "" if self.max_value is None else f"at most {self.max_value:g}"
        return " and ".join(part for part in (least, most) if part)


@dataclass(frozen=True)
class PrometheusCheck:
    """Passes if an instant query returns samples and all are within the bounds.

    Attributes:
        url: the URL of Prometheus, without `/api/v1`.
        query: PromQL; `$release` and `$scope` in it are replaced.
        bounds: the range for every sample.
        timeout: the time limit of the request.
    """

    url: str
    query: str
    bounds: Bounds
    timeout: timedelta

    async def __call__(self, input: CheckGateInput) -> GateChecked:
        """Run the query and judge its samples."""
        try:
            samples, warnings = samples_of(*await self._run(fill(self.query, input)))
        except CheckUnansweredError as error:
            raise CheckUnansweredError(f"check {input.name}: {error}") from error
        passed, detail = judge(samples, self.bounds)
        if warnings:
            detail += f" (Prometheus warns: {_short('; '.join(warnings))})"
        return GateChecked(name=input.name, passed=passed, detail=detail)

    async def _run(self, query: str) -> tuple[int, bytes]:
        """Return the status and the body of the answer to a query."""
        limit = self.timeout.total_seconds()
        url = f"{self.url.rstrip('/')}/api/v1/query"
        try:
            # The timeout of httpx applies to each read only: a slow trickle would never end.
            async with (
                asyncio.timeout(limit),
                httpx.AsyncClient(timeout=limit, headers=GZIP) as http,
                http.stream("GET", url, params={"query": query}) as answer,
            ):
                return answer.status_code, await read_bounded(answer, MAX_ANSWER_BYTES)
        except AnswerRefusedError as error:
            raise CheckUnansweredError(f"Prometheus: {error}") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise CheckUnansweredError(
                f"no answer from Prometheus after {span(self.timeout)}"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Without the URL, which may contain a password.
            text = error_words(error)
            raise CheckUnansweredError(f"Prometheus cannot be reached: {text}") from error


def fill(query: str, input: CheckGateInput) -> str:
    """Return a query with `$release` and `$scope` replaced.

    Tags and scopes contain no quote or backslash, so both are safe in a string of PromQL, as in
    `version="$release"`. In a regular expression (`=~`) their dots match any character.
    """
    words = {"release": package_tag(input.release_tag), "scope": input.scope}
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


class _Response(BaseModel):
    data: Annotated[_Vector | _Scalar, Field(discriminator="kind")]
    warnings: tuple[str, ...] = ()


class _Refusal(BaseModel):
    error: str


def samples_of(status: int, body: bytes) -> tuple[Sequence[Sample], Sequence[str]]:
    """Return the samples and the warnings in the response to an instant query.

    Raises:
        CheckUnansweredError: the response is an error, or neither a vector nor a scalar.
    """
    if status != httpx.codes.OK:
        text = f"{status} {httpx.codes.get_reason_phrase(status)}".rstrip()
        raise CheckUnansweredError(f"Prometheus answers {text}: {_refusal(body)}")
    try:
        read = _Response.model_validate_json(body)
    except ValidationError as error:
        what = "Prometheus answers with neither a vector of numbers nor a scalar"
        raise CheckUnansweredError(f"{what}: {_short(_text(body))}") from error
    if isinstance(read.data, _Scalar):
        return [Sample({}, read.data.result[1])], read.warnings
    return [Sample(each.metric, each.value[1]) for each in read.data.result], read.warnings


def judge(samples: Sequence[Sample], bounds: Bounds) -> tuple[bool, str]:
    """Return whether all samples are within the bounds, and a text with the values.

    A query without any sample does not pass: it shows nothing about the release.
    """
    if not samples:
        return False, "the query returned no sample"
    outside = [sample for sample in samples if not bounds.admit(sample.value)]
    named = ", ".join(map(_sample_text, (outside or samples)[:SHOWN_SAMPLES]))
    more = len(outside or samples) - SHOWN_SAMPLES
    if more > 0:
        named += f" and {more} more"
    return not outside, f"{named}; allowed: {bounds}"


def _sample_text(sample: Sample) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.value:g} of {{{_short(labels)}}}" if labels else f"{sample.value:g}"


def _refusal(body: bytes) -> str:
    try:
        return _short(_Refusal.model_validate_json(body).error)
    except ValidationError:
        return _short(_text(body))


def _text(body: bytes) -> str:
    """Return the beginning of a body. The charset that it names is not used: it may be none."""
    return body[: 8 * ANSWER_CHARACTERS].decode(errors="replace")


def _short(text: str) -> str:
    return " ".join(text.split())[:ANSWER_CHARACTERS]
