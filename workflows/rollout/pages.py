"""The pages of a rollout and its waves in the Temporal UI: the answers of `relight rollout why`."""

from collections.abc import Mapping
from datetime import datetime

from temporalio import workflow

from relight.domain.names import RouteId, rollout_tag
from relight.domain.rollout.answer import (
    MAX_FAILED_HOSTS,
    RolloutAnswer,
    answer_of,
    more_text,
    next_text,
)
from relight.domain.rollout.rollout import (
    RolloutPhase,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)
from relight.domain.rollout.wave import RolloutWaveInput, WaveWork
from relight.domain.text import plain


def rollout_page(status: RolloutStatus, of_wave: str = "") -> str:
    """Return the page of a rollout in the Temporal UI, as Markdown.

    Args:
        status: its status.
        of_wave: the page of its running wave, or where that is; empty without one.
    """
    undo, what = "undo of " if status.undo else "", status.image_name or status.release_tag
    answer = answer_of(status)
    lines = [
        f"{undo}**{what}** over **{status.scope}**: {status.phase}",
        *_table(
            {
                "wave": f"{status.wave} of {status.waves}",
                "routes": _counts_text(status.counts),
                "reason": answer.waits_for,
                **_wait(answer),
            }
        ),
        *_failed_table(answer),
    ]
    if of_wave:
        lines += ["", of_wave]
    return "\n".join(lines)


class WavePage:
    """What a wave shows in the Temporal UI: what it waits for, and its failed hosts.

    Attributes:
        counts: the number of routes of the whole rollout by progress.
    """

    def __init__(self, input: RolloutWaveInput) -> None:
        """Begin with an empty page."""
        self._input = input
        self.counts: Mapping[RouteProgress, int] = {}
        self._failed: dict[RouteId, RouteOutcome] = {}
        self._waits_for, self._since = "", workflow.now()

    @property
    def failed(self) -> tuple[RouteOutcome, ...]:
        """The routes that failed in the wave, with brief faults; of many the first."""
        return tuple(self._failed.values())

    def keep(self, outcome: RouteOutcome) -> None:
        """Keep the outcome of a route, if it has a fault."""
        if outcome.fault is None:
            self._failed.pop(outcome.route_id, None)
        elif len(self._failed) < MAX_FAILED_HOSTS:
            self._failed[outcome.route_id] = outcome.brief

    def set(self, counts: Mapping[RouteProgress, int], waits_for: str) -> None:
        """Set the counts of the rollout's routes, and what the wave waits for."""
        self.counts = counts
        if waits_for != self._waits_for:
            self._waits_for, self._since = waits_for, workflow.now()

    @property
    def text(self) -> str:
        """The page, as Markdown."""
        answer = answer_of(self._status())
        rows = {
            "routes of the rollout": _counts_text(self.counts),
            "waits for": answer.waits_for or "nothing",
            **(_wait(answer) if answer.waits_for or answer.failed else {}),
        }
        title = f"{self._input.work}: wave {self._input.number} of `{self._input.rollout}`"
        return "\n".join([title, *_table(rows), *_failed_table(answer)])

    def _status(self) -> RolloutStatus:
        """Return the status of the rollout, as far as this wave knows it."""
        wave = self._input
        phase = RolloutPhase.HOLDING if self._waits_for else RolloutPhase.RUNNING
        if wave.work is WaveWork.ROLL_BACK:
            phase = RolloutPhase.ROLLING_BACK
        return RolloutStatus(
            release_tag=wave.release.tag if wave.image_name else rollout_tag(wave.rollout),
            image_name=wave.image_name,
            scope=wave.scope,
            phase=phase,
            wave=wave.number,
            waves=wave.number,
            routes=self.failed,
            detail=self._waits_for,
            since=self._since if self._waits_for else None,
            counts=self.counts,
            undo=wave.work is WaveWork.UNDO,
        )


def _wait(answer: RolloutAnswer) -> Mapping[str, str]:
    rows = {"since": _time_text(answer.since), "until": answer.until, "to do": answer.to_do}
    return {name: text for name, text in rows.items() if text} | (
        {} if answer.to_do else {"to do": "nothing"}
    )


def _table(rows: Mapping[str, str]) -> list[str]:
    return ["", "| | |", "|---|---|", *(f"| {name} | {_cell(rows[name])} |" for name in rows)]


def _failed_table(answer: RolloutAnswer) -> list[str]:
    """Return the table of the failed hosts, with the words of `relight rollout why`."""
    if not answer.failed:
        return []
    lines = [
        "",
        "| route | machine | host | fault | remedy | what to do | next |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        "| "
        + " | ".join(
            _cell(text)
            for text in (
                f"{host.route_id} ({host.progress})",
                host.machine_key or "-",
                host.host or "-",
                f"{host.fault} ({host.fault_class}): {host.summary}",
                host.remedy,
                host.advice or "-",
                next_text(host),
            )
        )
        + " |"
        for host in answer.failed
    ]
    if answer.more_failed > 0:
        lines.append(f"| {more_text(answer.more_failed)} | | | | | | |")
    return lines


def _counts_text(counts: Mapping[RouteProgress, int]) -> str:
    known = [f"{counts[each]} {each}" for each in RouteProgress if counts.get(each)]
    return ", ".join(known) or "none yet"


def _time_text(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "-"


def _cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return plain(" ".join(text.split()))
