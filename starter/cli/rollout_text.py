"""A rollout, as an operator reads it."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from relight.domain.names import RouteId
from relight.domain.rollout.rollout import (
    RolloutPlan,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)
from starter.cli.fault_text import fault_panel
from starter.cli.output import open_table, stdout

_NAMED_ROUTES = 12

_STYLES = {
    RouteProgress.CONVERGED: "green",
    RouteProgress.FAILED: "bold red",
    RouteProgress.ROLLED_BACK: "red",
    RouteProgress.NOT_ROLLED_BACK: "bold red",
    RouteProgress.SOAKING: "cyan",
    RouteProgress.PROVING: "cyan",
    RouteProgress.SKIPPED: "dim",
    RouteProgress.ROLLING_BACK: "yellow",
    RouteProgress.SWAPPING: "yellow",
    RouteProgress.UNTOUCHED: "dim",
    RouteProgress.WAITING: "dim",
}

_TOLD = frozenset(
    {
        RouteProgress.SWAPPING,
        RouteProgress.CONVERGED,
        RouteProgress.ROLLING_BACK,
        RouteProgress.ROLLED_BACK,
    }
)


def plan_text(plan: RolloutPlan) -> str:
    """Return a plan in words: each wave with its routes."""
    sizes = plan.sizes or tuple(map(len, plan.waves))
    routes = sum(sizes)
    waves = "\n".join(
        f"  wave {number}: {_named(wave, size)}"
        for number, (wave, size) in enumerate(zip(plan.waves, sizes, strict=True), start=1)
    )
    return (
        f"{plan.release_tag} ({plan.version}) over {plan.scope}: "
        f"{_counted(routes, 'route')} in {_counted(len(plan.waves), 'wave')}\n{waves}"
    )


def _named(wave: tuple[RouteId, ...], size: int) -> str:
    names = ", ".join(wave[:_NAMED_ROUTES])
    more = size - min(len(wave), _NAMED_ROUTES)
    return f"{names} and {more} more" if more > 0 else names


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def headline(status: RolloutStatus) -> str:
    """Return where a rollout stands, in one line."""
    counts = ", ".join(
        f"{count} {progress}" for progress in RouteProgress if (count := status.count(progress))
    )
    return (
        f"{status.release_tag} over {status.scope}: {status.phase}, "
        f"wave {status.wave} of {status.waves}; {counts or 'no routes yet'}"
    )


def board(status: RolloutStatus) -> RenderableType:
    """Return the whole of a rollout: its headline, why it stands there, and its routes."""
    table = open_table("route", "wave", "progress", "from", "fault")
    for outcome in status.routes:
        table.add_row(
            outcome.route_id,
            str(outcome.wave),
            Text(outcome.progress, style=_STYLES[outcome.progress]),
            outcome.previous_release_tag or "-",
            outcome.fault.kind if outcome.fault else "-",
        )
    since = f" (since {status.since:%Y-%m-%d %H:%M:%S} UTC)" if status.since else ""
    why = [Text(f"{status.detail}{since}")]
    if status.to_do:
        why.append(Text(f"to do: {status.to_do}", style="yellow"))
    return Group(Text(headline(status), style="bold"), *why, table)


def print_status(status: RolloutStatus) -> None:
    """Print a rollout, and each of its faults in full."""
    stdout.print(board(status))
    for outcome in status.routes:
        if outcome.fault is not None:
            stdout.print(fault_panel(f"route {outcome.route_id}", outcome.fault))


def changes(before: RolloutStatus | None, now: RolloutStatus) -> Iterator[str]:
    """Yield what is new since the last look, a line each."""
    known = {outcome.route_id: outcome for outcome in before.routes} if before else {}
    if before is None or (before.phase, before.wave) != (now.phase, now.wave):
        yield headline(now)
    for outcome in now.routes:
        was = known.get(outcome.route_id)
        # A look may come too late for each single step; what failed is always said.
        if outcome.fault is not None and (was is None or was.fault is None):
            yield f"  {outcome.route_id}: failed: {outcome.fault.summary}"
        moved = was is None or was.progress != outcome.progress
        if moved and outcome.progress in _TOLD:
            yield f"  {outcome.route_id}: {_said(outcome, now)}"


def conclusion(status: RolloutStatus) -> str:
    """Return how a rollout that did not converge ended, with each host that failed."""
    hosts = "".join(f"\n  {each.fault.summary}" for each in status.routes if each.fault)
    return f"{status.release_tag} over {status.scope}: {status.detail}{hosts}"


def _said(outcome: RouteOutcome, status: RolloutStatus) -> str:
    if outcome.progress is RouteProgress.ROLLING_BACK:
        return f"going back to {outcome.previous_release_tag or 'the release before'}"
    if outcome.progress is RouteProgress.ROLLED_BACK:
        return f"proven at {outcome.previous_release_tag or 'the release before'} again"
    if outcome.progress is RouteProgress.CONVERGED:
        return f"proven at {status.release_tag}"
    return f"{outcome.previous_release_tag or 'nothing'} -> {status.release_tag}"
