"""Where a rollout stands, as far as its workflow knows, and its pages in the Temporal UI."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from temporalio import workflow

from relight.domain.rollout.rollout import (
    RolloutPhase,
    RolloutReleaseInput,
    RolloutStanding,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)
from relight.domain.text import plain

MAX_HISTORY_EVENTS = 4000
"""Above it, a rollout or a wave continues as new. The server's limit is ten times higher."""

MAX_SHOWN_FAULTS = 50


def history_is_long() -> bool:
    """Return whether the running workflow has to continue as new."""
    info = workflow.info()
    return (
        info.is_continue_as_new_suggested()
        or info.get_current_history_length() > MAX_HISTORY_EVENTS
    )


class RolloutState:
    """Where a rollout stands. The store has its routes.

    Attributes:
        standing: what is recorded of it at each change.
        counts: the number of routes in each progress, when a wave last ended.
    """

    def __init__(self, input: RolloutReleaseInput) -> None:
        """Begin, or take over what the run before has kept."""
        self._input = input
        kept = input.continued
        self.counts: Mapping[RouteProgress, int] = kept.counts if kept else {}
        self.standing = (
            kept.standing
            if kept
            else RolloutStanding(
                phase=RolloutPhase.PREPARING,
                detail="resolving the release and the routes in scope",
                since=workflow.now(),
            )
        )

    @property
    def wave(self) -> int:
        """The number of the current wave, from 1; 0 before the first."""
        return self.standing.wave

    @property
    def waves(self) -> int:
        """The number of waves."""
        return self.standing.waves

    def set_wave(self, number: int, waves: int) -> None:
        """Set the number of the current wave, and how many there are."""
        self.standing = self.standing.model_copy(update={"wave": number, "waves": waves})

    def set_phase(self, phase: RolloutPhase, detail: str, to_do: str = "") -> None:
        """Set the phase, its reason, and what an operator can do about it."""
        before = self.standing
        same = (phase, detail) == (before.phase, before.detail)
        since = before.since if same else workflow.now()
        changes = {"phase": phase, "detail": detail, "to_do": to_do, "since": since}
        self.standing = before.model_copy(update=changes)

    def status(self) -> RolloutStatus:
        """Return the state as a status that lists no route."""
        return RolloutStatus(
            release_tag=self._input.release_tag,
            scope=self._input.scope,
            routes=(),
            counts=self.counts,
            undo=self._input.undo,
            **dict(self.standing),
        )


def rollout_page(status: RolloutStatus, wave_id: str | None = None) -> str:
    """Return the page of a rollout in the Temporal UI, as Markdown.

    Args:
        status: its status.
        wave_id: the workflow id of its running wave.
    """
    undo = "undo of " if status.undo else ""
    lines = [
        f"{undo}**{status.release_tag}** over **{status.scope}**: {status.phase}",
        *_table(
            {
                "wave": f"{status.wave} of {status.waves}",
                "routes": _counts_text(status.counts),
                "reason": status.detail,
                "since": _time_text(status.since),
                "to do": status.to_do or "nothing",
            }
        ),
        *_faults_table(status.routes),
    ]
    if wave_id is not None:
        lines += ["", f"The page of `{wave_id}` shows how far its routes are."]
    return "\n".join(lines)


def wave_page(
    title: str, counts: Mapping[RouteProgress, int], waits_for: str, failed: Iterable[RouteOutcome]
) -> str:
    """Return the page of a wave in the Temporal UI, as Markdown."""
    rows = {"routes of the rollout": _counts_text(counts), "waits for": waits_for or "nothing"}
    return "\n".join([title, *_table(rows), *_faults_table(tuple(failed))])


def _table(rows: Mapping[str, str]) -> list[str]:
    return ["", "| | |", "|---|---|", *(f"| {name} | {_cell(rows[name])} |" for name in rows)]


def _faults_table(routes: Sequence[RouteOutcome]) -> list[str]:
    failed = [(each.route_id, each.fault) for each in routes if each.fault is not None]
    if not failed:
        return []
    lines = ["", "| route | machine | host | fault | summary |", "|---|---|---|---|---|"]
    lines += [
        f"| {route_id} | {fault.machine_key} | {fault.host} | {fault.kind} "
        f"({fault.fault_class}) | {_cell(fault.summary)} |"
        for route_id, fault in failed[:MAX_SHOWN_FAULTS]
    ]
    if len(failed) > MAX_SHOWN_FAULTS:
        lines.append(f"| and {len(failed) - MAX_SHOWN_FAULTS} more | | | | |")
    return lines


def _counts_text(counts: Mapping[RouteProgress, int]) -> str:
    known = [f"{counts[each]} {each}" for each in RouteProgress if counts.get(each)]
    return ", ".join(known) or "none yet"


def _time_text(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "-"


def _cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return plain(" ".join(text.split()))
