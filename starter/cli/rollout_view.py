"""A running rollout on a terminal: its header, a bar for each wave, and the routes that matter.

It fits into the terminal's height: what needs a person comes first, and the rest is counted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from relight.domain.duration import span
from relight.domain.names import RouteId
from relight.domain.rollout.rollout import (
    FAILURES,
    IN_PROGRESS,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)
from starter.cli.output import text_of
from starter.cli.rollout_text import (
    PROGRESS_STYLES,
    counts_text,
    in_order_of_urgency,
    rest_text,
    title_of,
)

if TYPE_CHECKING:  # slow to import
    from relight.store.rollout_status import FollowedRollout

_LEFT = (RouteProgress.WAITING, RouteProgress.TO_ROLL_BACK, RouteProgress.UNTOUCHED)

_CELLS = {
    "done": ("█", "#", "green"),
    "failed": ("x", "x", "bold red"),
    "in progress": ("▒", "=", "yellow"),
    "left": ("·", ".", "dim"),
}
"""The parts of a bar: their character, the one of a terminal with ASCII only, and their style."""

_BAR_WIDTH = 40
_BESIDE_BAR = 36
"""The columns beside a bar: the wave's number and its counts."""


@dataclass(frozen=True)
class RouteStep:
    """What an operation does on a route now.

    Attributes:
        text: the step, as in `installing`.
        since: its begin, UTC; None if unknown.
    """

    text: str
    since: datetime | None = None


@dataclass(frozen=True)
class RolloutView:
    """A rollout at one moment.

    Attributes:
        followed: the rollout.
        eta: its elapsed time and its ETA, in one line.
        now: UTC.
        steps: what is done on routes in progress, as far as it is known.
    """

    followed: "FollowedRollout"
    eta: str
    now: datetime
    steps: Mapping[RouteId, RouteStep] = field(default_factory=dict)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render what fits into the height of the terminal."""
        # One line less than the terminal has: the cursor stands below.
        height = console.height - 1
        above = [*self._header(), *self._bars(options, max(height // 4, 2))]
        yield from above
        used = sum(len(console.render_lines(line, options)) for line in above)
        yield from self._routes(height - used)

    def _header(self) -> Iterator[Text]:
        status = self.followed.status
        yield text_of(
            f"{title_of(status)}: {status.phase}, wave {status.wave} of {status.waves}", "bold"
        )
        yield text_of(self.eta)
        yield text_of(counts_text(status.counts))
        # While it runs without a reason, the detail repeats the wave.
        if status.detail != f"wave {status.wave} of {status.waves}":
            since = f" (for {span(self.now - status.since)})" if status.since else ""
            yield text_of(f"{status.detail}{since}")
        if status.to_do:
            yield text_of(f"to do: {status.to_do}", "yellow")

    def _bars(self, options: ConsoleOptions, limit: int) -> Iterator[Text]:
        """Yield a bar for each wave; of many waves, for those from the one before this one on."""
        waves = sorted(self.followed.waves)
        shown = waves
        if len(waves) > limit:
            current = self.followed.status.wave
            first = min(max(current - 2, 0), len(waves) - limit + 1)
            shown = waves[first : first + limit - 1]
        digits = len(str(waves[-1])) if waves else 1
        for number in shown:
            bar = _bar(self.followed.waves[number], options)
            yield Text.assemble(f"wave {number:<{digits}} ", bar)
        hidden = [each for each in waves if each not in shown]
        if hidden:
            rest = sum((Counter(self.followed.waves[each]) for each in hidden), Counter())
            yield _line(text_of(f"and {len(hidden)} more waves: {counts_text(rest)}", "dim"))

    def _routes(self, height: int) -> Iterator[Text]:
        status = self.followed.status
        routes: Sequence[RouteOutcome] = in_order_of_urgency(status.routes)
        if len(routes) > height or sum(status.counts.values()) > len(routes):
            routes = _fitting(routes, max(height - 1, 0))
        width = max((len(each.route_id) for each in routes), default=0)
        for each in routes:
            name = text_of(f"{each.route_id:<{width}}  ")
            yield _line(name + text_of(self._state(each), PROGRESS_STYLES[each.progress]))
        if rest := rest_text(status, routes):
            yield _line(text_of(rest, "dim"))

    def _state(self, outcome: RouteOutcome) -> str:
        step = self.steps.get(outcome.route_id)
        if outcome.progress in IN_PROGRESS and step is not None:
            since = f", {span(self.now - step.since)}" if step.since else ""
            return f"{outcome.progress}: {step.text}{since}"
        if outcome.fault is not None:
            return f"{outcome.progress}: {outcome.fault.kind}"
        return outcome.progress


def shown_in_progress(status: RolloutStatus, limit: int) -> list[RouteId]:
    """Return the first routes in progress, at most `limit`."""
    routes = [each.route_id for each in status.routes if each.progress in IN_PROGRESS]
    return routes[:limit]


def _fitting(routes: Sequence[RouteOutcome], height: int) -> Sequence[RouteOutcome]:
    """Return the first routes; no more than half of them failed while others are in progress."""
    failed = [each for each in routes if each.progress in FAILURES]
    active = [each for each in routes if each.progress in IN_PROGRESS]
    kept = failed[: max(height - len(active), height // 2)]
    return [*kept, *(each for each in routes if each.progress not in FAILURES)][:height]


def _bar(counts: Mapping[RouteProgress, int], options: ConsoleOptions) -> Text:
    failed = sum(counts.get(each, 0) for each in FAILURES)
    active = sum(counts.get(each, 0) for each in IN_PROGRESS)
    left = sum(counts.get(each, 0) for each in _LEFT)
    total = sum(counts.values())
    done = total - failed - active - left
    sizes = {"done": done, "failed": failed, "in progress": active, "left": left}
    bar = Text()
    width = max(min(_BAR_WIDTH, options.max_width - _BESIDE_BAR), 10)
    for part, cells in _cells(sizes, width).items():
        block, ascii_block, style = _CELLS[part]
        bar.append((ascii_block if options.ascii_only else block) * cells, style)
    bar.append(f" {done:,} of {total:,}")
    if failed:
        bar.append(f", {failed:,} failed", "bold red")
    return bar


def _cells(sizes: Mapping[str, int], width: int) -> Mapping[str, int]:
    """Return how many cells each part gets: at least one for what is not empty."""
    total = sum(sizes.values())
    cells = {part: max(1, width * size // total) for part, size in sizes.items() if size}
    if cells:
        cells[max(cells, key=lambda part: cells[part])] += width - sum(cells.values())
    return cells


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
