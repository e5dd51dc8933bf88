"""A pass of reconciliation as its page in the Temporal UI shows it, and in one sentence."""

from collections import Counter
from collections.abc import Iterable, Sequence

from relight.domain.reconcile.plan import ReconcilePlan, about_of
from relight.domain.reconcile.run import FleetObserved, NotBegun

SHOWN = 50
"""How many lines of each table: a page is read by people."""


def details_of(observed: FleetObserved, not_begun: Iterable[NotBegun] = ()) -> str:
    """Return what a pass does, what it leaves alone, and the incident, as Markdown."""
    plan = observed.plan
    lines = [f"**{summary_of(plan)}**"]
    if plan.incident is not None:
        lines.append(f"\nThe breaker is open since {plan.incident.opened_at:%Y-%m-%d %H:%M} UTC.")
    lines += [f"- not asked: {each}" for each in observed.unasked]
    actions = [
        (action.kind, about_of(action), action.release_tag or "", action.reason)
        for action in plan.actions
    ]
    lines += _table(("what", "about", "release", "why"), actions)
    lines += _table(("left alone", "why"), [(each.about, each.reason) for each in plan.left_alone])
    lines += _table(("not begun", "why"), [(each.about, each.reason) for each in not_begun])
    return "\n".join(lines)


def summary_of(plan: ReconcilePlan) -> str:
    """Return a plan in one sentence."""
    counts = Counter(action.kind for action in plan.actions)
    doing = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing to do"
    left = f"; {plan.left_alone_count} left alone" if plan.left_alone_count else ""
    incident = f"; incident: {plan.incident.summary}" if plan.incident else ""
    return f"{doing}{left}{incident}"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = ["", _row(heads), _row(("---",) * len(heads)), *map(_row, rows[:SHOWN])]
    further = len(rows) - SHOWN
    return [*lines, f"\n... and {further} more"] if further > 0 else lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"
