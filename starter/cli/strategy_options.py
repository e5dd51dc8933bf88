"""The options of a rollout's strategy, the same for every command that takes one.

Some have shorter names than the fields that they set: longer names are cut in a help of 80 columns.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from relight.domain.disruption import BudgetSize, DisruptionBudget
from relight.domain.names import CheckName
from relight.domain.rollout.strategy import (
    Approval,
    CanaryRule,
    Inconclusive,
    Strategy,
    WaveSize,
    why_not_growing,
)
from relight.settings import load_settings
from starter.cli.errors import BadInputError
from starter.cli.names import GROWING, WavesOption, checked
from starter.cli.times import duration_option

_DEFAULT = Strategy()
_PANEL = "Strategy"


def share_of(text: str) -> float:
    """Parse a share of 1: `0.1` or `10%`.

    Raises:
        typer.BadParameter: it is malformed or out of range.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        msg = f"{text!r} is not a share, as in 0.1 or 10%"
        raise typer.BadParameter(msg)
    return share


def _budget(size: str | None) -> str | None:
    return None if size is None else checked(BudgetSize, size, "a budget, as in 2 or 10%")


def _tolerated(rate: float | None) -> float | None:
    if rate is not None and not 0 < rate < 1:
        msg = "a tolerated failure rate is more than 0 and less than 1"
        raise typer.BadParameter(msg)
    return rate


def _confidence(confidence: float | None) -> float | None:
    if confidence is not None and not 0.5 <= confidence < 1:
        msg = "a confidence is at least 0.5 and less than 1"
        raise typer.BadParameter(msg)
    return confidence


def _checks(names: list[str] | None) -> list[str]:
    expected = "a check name: lower-case letters, digits and hyphens"
    return [checked(CheckName, name, expected) for name in names or []]


def _option(*names: str, metavar: str | None = None, **settings: Any) -> Any:
    return typer.Option(*names, metavar=metavar, rich_help_panel=_PANEL, **settings)


def _budget_option(of: str) -> Any:
    return _option(
        metavar="SIZE",
        callback=_budget,
        help=f"How many routes of {of} may be out of service at once, for any reason: a count or "
        "a share.  \\[default: as for all operations, 10%]",
    )


ProviderBudgetOption = Annotated[str | None, _budget_option("a provider")]
RegionBudgetOption = Annotated[str | None, _budget_option("a provider's region")]
TrackBudgetOption = Annotated[str | None, _budget_option("a track")]


def strategy_of(  # noqa: PLR0913, PLR0917 - one argument a flag
    wave: WavesOption = None,
    canary: Annotated[
        CanaryRule,
        _option(
            metavar="RULE",
            help="The first wave. `size`: as many routes as its size. `strata`: in addition, at "
            "least one of each provider, architecture and track.",
        ),
    ] = _DEFAULT.canary,
    max_concurrent: Annotated[
        int,
        _option(metavar="COUNT", min=1, max=1000, help="How many routes may be changed at once."),
    ] = _DEFAULT.max_concurrent,
    max_concurrent_per_provider: Annotated[
        int | None,
        _option(
            "--provider-cap", metavar="COUNT", min=1, help="Of these, how many of one provider."
        ),
    ] = None,
    max_concurrent_per_region: Annotated[
        int | None,
        _option(
            "--region-cap",
            metavar="COUNT",
            min=1,
            help="Of these, how many of one region.",
        ),
    ] = None,
    provider_budget: ProviderBudgetOption = None,
    region_budget: RegionBudgetOption = None,
    track_budget: TrackBudgetOption = None,
    failure_budget: Annotated[
        int,
        _option(metavar="COUNT", min=0, help="How many routes may fail before the rollout stops."),
    ] = _DEFAULT.failure_budget,
    keep_failed: Annotated[
        bool,
        _option(
            "--keep-failed",
            help="If it stops or is aborted, leave the hosts as they are for a look. Without it, "
            "each changed route is rolled back to its release from before.",
        ),
    ] = not _DEFAULT.roll_back,
    soak: Annotated[
        timedelta | None,
        _option(
            metavar="DURATION",
            parser=duration_option,
            help="How long a wave runs before its gate decides, as in 30m.  \\[default: 0s]",
        ),
    ] = None,
    tolerated_failure_rate: Annotated[
        float | None,
        _option(
            "--tolerate",
            metavar="SHARE",
            parser=share_of,
            callback=_tolerated,
            help="The share of routes that a good release may fail on, as in 5%. With it, a gate "
            "tests the failure rate; without it, only the failure budget decides.",
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        _option(
            metavar="SHARE",
            parser=share_of,
            callback=_confidence,
            help="The confidence that a gate needs about that rate.  \\[default: 95%]",
        ),
    ] = None,
    inconclusive: Annotated[
        Inconclusive,
        _option(
            metavar="RULE",
            help="If too few routes were changed to decide: `hold`, `widen` the canary, or "
            "`proceed`.",
        ),
    ] = _DEFAULT.inconclusive,
    approval: Annotated[
        Approval,
        _option(
            metavar="RULE",
            help="When a person has to approve: `none`, after the `canary`, or after all `waves`.",
        ),
    ] = _DEFAULT.approval,
    check: Annotated[
        list[str] | None,
        _option(
            metavar="NAME",
            callback=_checks,
            help="A check from the control plane's settings that has to pass after each wave, else "
            "the rollout stops. Repeat it for more checks.",
        ),
    ] = None,
    incident_limit: Annotated[
        timedelta | None,
        _option(
            metavar="DURATION",
            parser=duration_option,
            help="How long a fault outside of hosts may hold the rollout before it is paused for a "
            "person, as in 30m.  \\[default: 1h]",
        ),
    ] = None,
) -> Strategy:
    """Return the strategy that the options describe."""
    return Strategy(
        waves=tuple(wave) if wave else _DEFAULT.waves,
        canary=canary,
        max_concurrent=max_concurrent,
        max_concurrent_per_provider=max_concurrent_per_provider,
        max_concurrent_per_region=max_concurrent_per_region,
        disruption_budget=budget_of(provider_budget, region_budget, track_budget),
        failure_budget=failure_budget,
        roll_back=not keep_failed,
        soak=_DEFAULT.soak if soak is None else soak,
        tolerated_failure_rate=tolerated_failure_rate,
        confidence=_DEFAULT.confidence if confidence is None else confidence,
        inconclusive=inconclusive,
        approval=approval,
        checks=tuple(check or ()),
        incident_limit=incident_limit or _DEFAULT.incident_limit,
    )


def budget_of(
    provider: str | None = None, region: str | None = None, track: str | None = None
) -> DisruptionBudget:
    """Return the budget; what is not given is that of replacements and reconcile runs."""
    default = load_settings().reconcile.strategy.disruption_budget
    return DisruptionBudget(
        provider=provider or default.provider,
        region=region or default.region,
        track=track or default.track,
    )


def require_growing_waves(waves: Sequence[WaveSize], routes: int) -> None:
    """Check that no wave is smaller than an earlier one.

    Args:
        waves: their sizes.
        routes: how many routes the rollout is about.

    Raises:
        BadInputError: one is.
    """
    if why := why_not_growing(waves, routes):
        msg = f"{why}: {GROWING}"
        raise BadInputError(msg)


_OPTIONS: Mapping[str, inspect.Parameter] = inspect.signature(strategy_of).parameters


def takes_strategy(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `strategy` with the options of a strategy.

    Typer reads options from the signature of a command, and cannot share a group of them.
    """
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        replaced = _OPTIONS.values() if name == "strategy" else [parameter]
        # Keyword-only, so that required options may follow optional ones: Typer calls by name.
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in replaced]

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in _OPTIONS}
        command(**arguments, strategy=strategy_of(**options))

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options
