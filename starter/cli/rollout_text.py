"""A rollout for people: its plan, its status and its changes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType

from relight.domain.duration import span
from relight.domain.fault.advice import FaultSubject
from relight.domain.names import RouteId
from relight.domain.rollout.answer import RolloutAnswer, named_hosts
from relight.domain.rollout.rollout import (
    RolloutPlan,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)
from starter.cli.fault_text import fault_panel
from starter.cli.output import Rows, stdout, text_of

_MAX_NAMED_ROUTES = 12

PROGRESS_STYLES: Mapping[str, str] = {
    RouteProgress.CONVERGED: "green",
    RouteProgress.FAILED: "bold red",
    RouteProgress.ROLLED_BACK: "red",
    RouteProgress.NOT_ROLLED_BACK: "bold red",
    RouteProgress.SOAKING: "cyan",
    RouteProgress.PROVING: "cyan",
    RouteProgress.SKIPPED: "dim",
    RouteProgress.TO_ROLL_BACK: "dim",
    RouteProgress.ROLLING_BACK: "yellow",
    RouteProgress.SWAPPING: "yellow",
    RouteProgress.REPLACING: "yellow",
    RouteProgress.UNTOUCHED: "dim",
    RouteProgress.WAITING: "dim",
}

_BY_URGENCY = (
    *(RouteProgress.FAILED, RouteProgress.NOT_ROLLED_BACK),
    *(RouteProgress.SWAPPING, RouteProgress.REPLACING),
    *(RouteProgress.ROLLING_BACK, RouteProgress.PROVING),
    *(RouteProgress.ROLLED_BACK, RouteProgress.TO_ROLL_BACK, RouteProgress.SOAKING),
    *(RouteProgress.CONVERGED, RouteProgress.SKIPPED),
    *(RouteProgress.WAITING, RouteProgress.UNTOUCHED),
)

_REPORTED = frozenset(
    {
        RouteProgress.SWAPPING,
        RouteProgress.REPLACING,
        RouteProgress.CONVERGED,
        RouteProgress.ROLLING_BACK,
        RouteProgress.ROLLED_BACK,
    }
)
"""Progress that is reported as it happens. A failure is always reported."""


def plan_text(plan: RolloutPlan) -> str:
    """Return a plan as text: each wave with its routes."""
    sizes = plan.sizes or tuple(map(len, plan.waves))
    routes = sum(sizes)
    waves = "\n".join(
        f"  wave {number}: {_route_names(wave, size)}"
        for number, (wave, size) in enumerate(zip(plan.waves, sizes, strict=True), start=1)
    )
    what = plan.image_name or f"{plan.release_tag} ({plan.version})"
    return (
        f"{what} over {plan.scope}: "
        f"{counted(routes, 'route')} in {counted(len(plan.waves), 'wave')}\n{waves}"
    )


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 route`, `3 routes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def headline(status: RolloutStatus) -> str:
    """Return the phase, the wave and the counts of a rollout, in one line."""
    return (
        f"{title_of(status)}: {status.phase}, "
        f"wave {status.wave} of {status.waves}; {counts_text(status.counts)}"
    )


def counts_text(counts: Mapping[RouteProgress, int]) -> str:
    """Return how many routes have each progress: `1 failed, 9,000 waiting`."""
    known = sorted((each for each in RouteProgress if counts.get(each)), key=_urgency)
    return ", ".join(f"{counts[each]:,} {each}" for each in known) or "no routes yet"


def in_order_of_urgency(routes: Iterable[RouteOutcome]) -> list[RouteOutcome]:
    """Return routes in the order in which a person needs them: failed ones first."""
    return sorted(routes, key=lambda each: _urgency(each.progress))


def _urgency(progress: RouteProgress) -> int:
    return _BY_URGENCY.index(progress)


def rest_text(status: RolloutStatus, shown: Sequence[RouteOutcome]) -> str:
    """Return how many routes of a rollout are not shown, by progress; empty if all are."""
    rest = Counter(status.counts) - Counter(each.progress for each in shown)
    return f"and {rest.total():,} more: {counts_text(rest)}" if rest else ""


def status_view(status: RolloutStatus) -> RenderableType:
    """Return a rollout's headline, its reason and what to do, and its routes."""
    other = "runs" if status.image_name else "back to" if status.undo else "from"
    table = Rows(
        ("route", "wave", "progress", other, "fault"),
        (
            (
                outcome.route_id,
                outcome.wave,
                outcome.progress,
                outcome.previous_release_tag,
                outcome.fault.kind if outcome.fault else None,
            )
            for outcome in in_order_of_urgency(status.routes)
        ),
        styles=PROGRESS_STYLES,
    )
    since = f" (since {status.since:%Y-%m-%d %H:%M:%S} UTC)" if status.since else ""
    lines = [text_of(headline(status), "bold"), text_of(f"{status.detail}{since}")]
    if status.to_do:
        lines.append(text_of(f"to do: {status.to_do}", "yellow"))
    rest = rest_text(status, status.routes)
    return Group(*lines, table, *([text_of(rest)] if rest else []))


def waited(answer: RolloutAnswer, now: datetime) -> timedelta | None:
    """Return how long a rollout has waited; None if it waits for nothing."""
    if answer.since is None or not answer.until:
        return None
    return max(now - answer.since, timedelta())


def answer_lines(answer: RolloutAnswer, waited: timedelta | None) -> list[str]:
    """Return why a rollout does not go on, and each failed host with what to do."""
    lines = [answer.sentence]
    if waited is not None:
        lines.append(f"it has waited for {span(waited)}, until {answer.until}")
    return lines + named_hosts(answer.failed, answer.more_failed)


def print_status(status: RolloutStatus) -> None:
    """Print a rollout, and all details of its faults."""
    stdout.print(status_view(status))
    for outcome in status.routes:
        if outcome.fault is not None:
            subject = FaultSubject(outcome.route_id, status.release_tag)
            stdout.print(fault_panel(subject, outcome.fault))


def changes(before: RolloutStatus | None, now: RolloutStatus) -> Iterator[str]:
    """Yield the changes between two statuses, one line each.

    Of a rollout whose routes are too many to be listed, only failures are.
    """
    if before is None or (before.phase, before.wave) != (now.phase, now.wave):
        yield headline(now)
    yield from failures(before, now)
    known = {outcome.route_id: outcome.progress for outcome in before.routes} if before else {}
    if sum(now.counts.values()) > len(now.routes):
        return
    for outcome in now.routes:
        changed = known.get(outcome.route_id) != outcome.progress
        if changed and outcome.progress in _REPORTED:
            yield f"  {outcome.route_id}: {_progress_text(outcome, now)}"


def failures(before: RolloutStatus | None, now: RolloutStatus) -> Iterator[str]:
    """Yield the failures between two statuses, one line each."""
    known = {outcome.route_id: outcome for outcome in before.routes} if before else {}
    for outcome in now.routes:
        previous = known.get(outcome.route_id)
        # Polling can miss single steps, but never a failure: its fault stays.
        if outcome.fault is not None and (previous is None or previous.fault is None):
            ended = "skipped" if outcome.progress is RouteProgress.SKIPPED else "failed"
            yield f"  {outcome.route_id}: {ended}: {outcome.fault.summary}"


def conclusion(status: RolloutStatus) -> str:
    """Return why a rollout did not converge, with the fault of each failed route."""
    faults = "".join(f"\n  {each.fault.summary}" for each in status.routes if each.fault)
    return f"{title_of(status)}: {status.detail}{faults}"


def title_of(status: RolloutStatus) -> str:
    """Return what a rollout is: its release and its scope."""
    if status.image_name:
        return f"image {status.image_name} over {status.scope}"
    return f"{'undo of ' if status.undo else ''}{status.release_tag} over {status.scope}"


def _route_names(wave: tuple[RouteId, ...], size: int) -> str:
    names = ", ".join(wave[:_MAX_NAMED_ROUTES])
    more = size - min(len(wave), _MAX_NAMED_ROUTES)
    return f"{names} and {more} more" if more > 0 else names


def _progress_text(outcome: RouteOutcome, status: RolloutStatus) -> str:
    previous = outcome.previous_release_tag
    if outcome.progress is RouteProgress.ROLLING_BACK:
        return f"rolling back to {previous or 'the previous release'}"
    if outcome.progress is RouteProgress.ROLLED_BACK:
        return f"proven at {previous or 'the previous release'} again"
    if status.image_name:
        ended = outcome.progress is RouteProgress.CONVERGED
        return f"serves on a machine of {status.image_name}" if ended else "gets another machine"
    source, target = previous or "nothing", status.release_tag
    if status.undo:
        source, target = target, source
    if outcome.progress is RouteProgress.CONVERGED:
        return f"proven at {target}"
    return f"{source} -> {target}"
