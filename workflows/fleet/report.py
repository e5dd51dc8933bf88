"""The text of a reconcile run: its page in the Temporal UI, and its summary."""

from collections import Counter
from collections.abc import Iterable, Sequence

from relight.domain.reconcile.plan import ReconcilePlan, about_of
from relight.domain.reconcile.run import FleetObserved, NotStarted, NotVerified
from relight.domain.skew import SKEW_HEADER, skew_rows
from relight.domain.text import plain

MAX_ROWS = 50
"""Per table of the page."""


def details_of(
    observed: FleetObserved,
    not_started: Iterable[NotStarted] = (),
    not_verified: Iterable[NotVerified] = (),
) -> str:
    """Return the actions, the skew, what is left alone or failed, and the incident, as Markdown."""
    plan = observed.plan
    lines = [f"**{plain(summary_of(plan))}**"]
    if plan.incident is not None:
        lines.append(
            f"\nThe breaker has been open since {plan.incident.opened_at:%Y-%m-%d %H:%M} UTC. "
            f"{plan.incident.to_do}".rstrip()
        )
    lines += [f"- incident: {plain(fault.summary)}" for fault in plan.faults]
    lines += [f"- not observed: {plain(each)}" for each in observed.unobserved]
    actions = [
        (action.kind, about_of(action), action.release_tag or "", action.reason)
        for action in plan.actions
    ]
    lines += _table(("action", "about", "release", "reason"), actions)
    lines += _table(SKEW_HEADER, skew_rows(observed.skew))
    lines += _table(
        ("left alone", "reason"), [(each.about, each.reason) for each in plan.left_alone]
    )
    lines += _table(("not started", "reason"), [(each.about, each.reason) for each in not_started])
    lines += _table(
        ("not verified", "reason"), [(each.about, each.reason) for each in not_verified]
    )
    return "\n".join(lines)


def summary_of(plan: ReconcilePlan) -> str:
    """Return a summary of a plan."""
    counts = Counter(action.kind for action in plan.actions)
    actions = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing to do"
    left = f"; {plan.left_alone_count} left alone" if plan.left_alone_count else ""
    incident = f"; incident: {plan.incident.summary}" if plan.incident else ""
    faults = "".join(f"; incident: {fault.summary}" for fault in plan.faults)
    return f"{actions}{left}{incident}{faults}"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = ["", _row(header), _row(("---",) * len(header)), *map(_row, rows[:MAX_ROWS])]
    hidden = len(rows) - MAX_ROWS
    return [*lines, f"\n... and {hidden} more"] if hidden > 0 else lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(plain(" ".join(cell.splitlines())) for cell in cells) + " |"
