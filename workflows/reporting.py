"""What an operation shows in the Temporal UI: search attributes and details."""

from temporalio import workflow

from relight.domain.fault.fault import Fault
from relight.domain.fault.output import without_progress
from relight.domain.text import fenced, plain
from relight.engine import search_attributes as attributes


def report_release(tag: str) -> None:
    """Make the operation searchable by its release."""
    workflow.upsert_search_attributes([attributes.RELEASE.value_set(tag)])


def report_fault(fault: Fault, outcome: str = "") -> None:
    """Make the operation searchable by its fault, and show the fault on its page.

    Args:
        fault: the fault.
        outcome: a sentence about what the operation has changed, shown first.
    """
    workflow.upsert_search_attributes([attributes.FAULT.value_set(fault.kind)])
    page = _fault_details(fault)
    workflow.set_current_details(f"{outcome}\n\n{page}" if outcome else page)


def _fault_details(fault: Fault) -> str:
    """Return the page of a fault as Markdown. What a host wrote stays text."""
    lines = [f"**{fault.kind}** ({fault.fault_class}): {plain(fault.summary)}"]
    places = (("machine", fault.machine_key), ("host", fault.host))
    if named := ", ".join(f"{word} {place}" for word, place in places if place):
        lines.append(f"- {plain(named)}")
    if fault.attempted:
        lines.append(f"- attempted: {plain(fault.attempted)}")
    shown = "\n".join(without_progress((fault.stderr_tail, *fault.journal_tail))).strip()
    if shown:
        lines.append(f"\n{fenced(shown)}")
    return "\n".join(lines)
