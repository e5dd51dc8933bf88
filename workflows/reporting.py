"""What an operation shows in the Temporal UI: search attributes and details."""

from temporalio import workflow

from relight.domain.fault.fault import Fault
from relight.domain.fault.output import without_progress
from relight.domain.text import fenced, plain
from relight.engine import search_attributes as attributes


def report_release(tag: str) -> None:
    """Make the operation searchable by its release."""
    workflow.upsert_search_attributes([attributes.RELEASE.value_set(tag)])


def report_fault(fault: Fault) -> None:
    """Make the operation searchable by its fault, and show the fault on its page."""
    workflow.upsert_search_attributes([attributes.FAULT.value_set(fault.kind)])
    workflow.set_current_details(_fault_details(fault))


def _fault_details(fault: Fault) -> str:
    """Return the page of a fault as Markdown. What a host wrote stays text."""
    lines = [f"**{fault.kind}** ({fault.fault_class}): {plain(fault.summary)}"]
    if fault.machine_key or fault.host:
        lines.append(f"- machine {fault.machine_key}, host {fault.host}")
    if fault.attempted:
        lines.append(f"- attempted: {plain(fault.attempted)}")
    shown = "\n".join(without_progress((fault.stderr_tail, *fault.journal_tail))).strip()
    if shown:
        lines.append(f"\n{fenced(shown)}")
    return "\n".join(lines)
