"""The gate checks of a rollout, as a variable declares them."""

import json
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from relight.domain.duration import Duration
from relight.setting_groups import SettingsError

CHECK_LIMIT = timedelta(minutes=10)
"""Upper limit for a gate check: less than the activity's own timeout."""


class PrometheusCheckSettings(BaseModel):
    """A gate check that is an instant query of Prometheus.

    It passes if the query returns a scalar, or a vector of at least one sample, and every value is
    within the limits. NaN is within none.

    Attributes:
        url: Prometheus, without `/api/v1`.
        query: PromQL. The words `$release` and `$scope` are replaced by the rollout's (`v0.0.74`;
            `fleet` or `track:NAME`). Neither can contain a quote or a backslash, so both are safe
            in a string: `version="$release"`.
        max_value: the greatest value that passes.
        min_value: the least value that passes; at least one of the two limits is set.
        timeout: for the answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["prometheus"]
    url: AnyHttpUrl
    query: str = Field(min_length=1)
    max_value: float | None = Field(default=None, allow_inf_nan=False)
    min_value: float | None = Field(default=None, allow_inf_nan=False)
    timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(0), le=CHECK_LIMIT)

    @model_validator(mode="after")
    def _can_pass(self) -> Self:
        least, most = self.min_value, self.max_value
        if least is None and most is None:
            msg = "it has neither max_value nor min_value, so that nothing would be compared"
            raise ValueError(msg)
        if least is not None and most is not None and least > most:
            msg = "min_value is more than max_value, so that nothing would pass"
            raise ValueError(msg)
        return self


class CommandCheckSettings(BaseModel):
    """A gate check that is a program of yours, run beside the worker.

    Exit code 0 passes; 75 asks for a retry later; any other does not pass. The program gets the
    rollout in `RELIGHT_ROLLOUT_TAG`, `RELIGHT_ROLLOUT_CONFIGURATION` (a revision, or empty),
    `RELIGHT_ROLLOUT_SCOPE` and `RELIGHT_ROLLOUT_WAVE`. The end of its output is kept: it must not
    contain a secret.

    Attributes:
        command: the program and its arguments; no shell reads them.
        timeout: after it the program and all that it started are killed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["command"]
    command: tuple[str, ...] = Field(min_length=1)
    timeout: Duration = Field(default=timedelta(minutes=1), gt=timedelta(0), le=CHECK_LIMIT)


GateCheckSettings = PrometheusCheckSettings | CommandCheckSettings

GateChecks = dict[
    Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")],
    Annotated[GateCheckSettings, Field(discriminator="kind")],
]
_GATE_CHECKS: TypeAdapter[GateChecks] = TypeAdapter(GateChecks)


# Not left to pydantic, whose own error shows every value: a URL may contain a password.
def read_gate_checks(value: object) -> GateChecks:
    """Read the named checks from a variable, in JSON."""
    try:
        return _GATE_CHECKS.validate_python(json.loads(value) if isinstance(value, str) else value)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        raise SettingsError(f"RELIGHT_GATE_CHECKS: {wrong}") from None
    except ValueError:
        msg = 'RELIGHT_GATE_CHECKS is no JSON object, as in {"smoke": {"kind": "command", ...}}'
        raise SettingsError(msg) from None
