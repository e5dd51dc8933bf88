"""The routes of rollouts: the wave and the progress of each.

A route that a rollout works on is claimed here, in the transaction that counts what is out, and
in the one ledger of what is out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import bindparam, func, insert, update
from sqlmodel import Session, col, select

from relight.domain.names import ReleaseTag, RouteId
from relight.domain.rollout.rollout import (
    FAILURES,
    IN_PROGRESS,
    MAX_LISTED_ROUTES,
    RouteOutcome,
    RouteProgress,
)
from relight.domain.rollout.wave import (
    AdvanceWaveInput,
    WaveAdvanced,
    WaveWork,
)
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.ledger import CLAIMED, claim_for_rollout, release_of_rollout
from relight.store.rollout_choice import (
    STAGES,
    Choose,
    Chosen,
    WaveCounts,
    choose_starts,
    waiting_in,
)
from relight.store.route_outcomes import outcome_of, outcome_of_work
from relight.store.tables import (
    RolloutRouteRow,
    RolloutRow,
    RouteRow,
)

_LISTED_IN_PROGRESS = 100
"""So many routes in progress are listed however many have failed."""

_BATCH_SIZE = 1000
"""How many routes of a plan are inserted at once."""

_INSERT_PLANNED = insert(RolloutRouteRow).values(
    previous_release_tag=select(RouteRow.current_release_tag)
    .where(RouteRow.route_id == bindparam("of_route"))
    .scalar_subquery()
)

# Built once: a wave reads these whenever a route has ended.
_UNDER_WAY = select(RolloutRouteRow).where(
    RolloutRouteRow.rollout_run_id == bindparam("of_run"),
    RolloutRouteRow.progress == bindparam("under_way"),
)
_COUNTS = (
    select(RolloutRouteRow.wave, RolloutRouteRow.progress, func.count())
    .where(RolloutRouteRow.rollout_run_id == bindparam("of_run"))
    .group_by(col(RolloutRouteRow.wave), col(RolloutRouteRow.progress))
    .order_by(col(RolloutRouteRow.wave))
)


class RolloutRoutes:
    """Each row belongs to one run of a rollout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(self, run_id: str, waves: Sequence[Sequence[RouteId]], first: int = 1) -> int:
        """Record a plan and each route's current release; return how many routes it has.

        A plan that is already recorded stays unchanged.

        Args:
            run_id: the rollout's run.
            waves: its routes, in the order of their position.
            first: the number of the first of these waves.
        """
        with self._database.writing() as session:
            planned = (RolloutRouteRow.rollout_run_id == run_id, RolloutRouteRow.wave >= first)
            if recorded := _count(session, *planned):
                return recorded
            position = _count(session, RolloutRouteRow.rollout_run_id == run_id)
            rows = _rows(run_id, waves, first, position)
            while batch := list(islice(rows, _BATCH_SIZE)):
                session.connection().execute(_INSERT_PLANNED, batch)
            return _count(session, *planned)

    def plan_undo(
        self,
        run_id: str,
        waves: Sequence[Sequence[RouteId]],
        releases: Mapping[RouteId, ReleaseTag],
    ) -> None:
        """Record the plan of an undo. A plan that is already recorded stays unchanged.

        Args:
            run_id: the undo's run.
            waves: its routes, in the order of their position.
            releases: the release that each of them is brought back to.
        """
        with self._database.writing() as session:
            if _count(session, RolloutRouteRow.rollout_run_id == run_id):
                return
            rows = (
                {**_without_route(row), "previous_release_tag": releases[row["route_id"]]}
                for row in _rows(run_id, waves, first=1, position=0)
            )
            while batch := list(islice(rows, _BATCH_SIZE)):
                session.connection().execute(insert(RolloutRouteRow), batch)

    def advance(
        self, input: AdvanceWaveInput, choose: Choose, *, constrained: bool
    ) -> WaveAdvanced:
        """Record what ended, and claim the routes that `choose` selects, in one transaction.

        Claims that the wave does not list (their reply was lost) are returned again.

        Args:
            input: the wave's state.
            choose: selects which of the waiting routes start.
            constrained: other limits than the number of concurrent routes apply. If not, only as
                many routes are read as may start, and nothing of the rest of the fleet.
        """
        stage, run_id = STAGES[input.work], input.rollout_run_id
        with self._database.writing() as session:
            # Few queries: all other writes wait.
            ended = {outcome.route_id: outcome for outcome in input.ended}
            claimed = session.exec(
                _UNDER_WAY, params={"of_run": run_id, "under_way": stage.under_way}
            ).all()
            for row in claimed:
                if outcome := ended.get(row.route_id):
                    row.progress = outcome.progress
                    row.requeued += outcome.progress == stage.before
                    if outcome.fault != outcome_of_work(row).brief.fault:
                        row.fault = outcome.fault.model_dump(mode="json") if outcome.fault else None
            session.flush()
            release_of_rollout(session, run_id, ended)
            known = {*input.in_flight, *ended}
            lost = [row for row in claimed if row.route_id not in known]
            under_way = [*input.in_flight, *(row.route_id for row in lost)]
            page, chosen = choose_starts(session, input, choose, under_way, constrained=constrained)
            for route_id in chosen.left_out:
                page[route_id].progress = RouteProgress.SKIPPED
            claims = [page[route_id] for route_id in chosen.starts]
            if input.work is WaveWork.SWAP:
                _keep_previous_releases(session, claims)
            starts = [*lost, *claims]
            for row in starts:
                row.progress = stage.under_way
            session.flush()
            if stage.under_way in CLAIMED:
                claim_for_rollout(session, run_id, [row.route_id for row in starts])
            waves = counts_by_wave(session, run_id)
            return WaveAdvanced(
                starts=tuple(outcome_of_work(row).brief for row in starts),
                counts=total_counts(waves),
                waiting=waiting_in(waves, input),
                limited_by=chosen.limited_by,
                thaws_at=chosen.thaws_at,
            )

    def may_start(self, input: AdvanceWaveInput, choose: Choose, *, constrained: bool) -> Chosen:
        """Return which of the waiting routes `choose` would select now. Nothing is changed."""
        with self._database.reading() as session:
            return choose_starts(session, input, choose, input.in_flight, constrained=constrained)[
                1
            ]

    def begin_proofs(self, run_id: str, number: int) -> int:
        """Let the converged routes of a wave soak before a further proof; return how many."""
        return self._move(run_id, RouteProgress.CONVERGED, RouteProgress.SOAKING, number)

    def begin_roll_back(self, run_id: str, release_tag: ReleaseTag) -> int:
        """Let every route that a rollout changed wait for its rollback; return how many wait.

        Unchanged are routes that ran the release before, that the rollout did not reach, whose
        swap failed before it began, and that another operation has brought elsewhere since. So
        are those of a closed rollout: if a worker dies as it has closed it, its task runs again.
        """
        of_rollout = col(RolloutRouteRow.rollout_run_id) == run_id
        closed = select(RolloutRow.run_id).where(
            RolloutRow.run_id == run_id, col(RolloutRow.closed_at).is_not(None)
        )
        reached = (RouteProgress.CONVERGED, RouteProgress.SOAKING, RouteProgress.FAILED)
        still_there = select(RouteRow.route_id).where(RouteRow.target_release_tag == release_tag)
        changed = update(RolloutRouteRow).where(
            of_rollout,
            col(RolloutRouteRow.rollout_run_id).not_in(closed),
            col(RolloutRouteRow.progress).in_(reached),
            col(RolloutRouteRow.previous_release_tag).is_distinct_from(release_tag),
            col(RolloutRouteRow.route_id).in_(still_there),
        )
        with self._database.writing() as session:
            session.connection().execute(changed.values(progress=RouteProgress.TO_ROLL_BACK))
            waits = RolloutRouteRow.progress == RouteProgress.TO_ROLL_BACK
            return _count(session, of_rollout, waits)

    def widen(self, run_id: str, number: int, by: int) -> int:
        """Split the first `by` routes off the wave after `number`; return the number of waves."""
        with self._database.writing() as session:
            of_rollout = col(RolloutRouteRow.rollout_run_id) == run_id
            following = session.exec(
                _of(run_id)
                .where(RolloutRouteRow.wave == number + 1)
                .order_by(col(RolloutRouteRow.position))
            ).all()
            if len(following) > by:
                last = following[by - 1].position
                later = update(RolloutRouteRow).where(
                    of_rollout, col(RolloutRouteRow.position) > last
                )
                session.connection().execute(later.values(wave=col(RolloutRouteRow.wave) + 1))
            return session.exec(select(func.max(RolloutRouteRow.wave)).where(of_rollout)).one() or 0

    def retry_failed(self, run_id: str, number: int) -> int:
        """Let the failed routes wait again, in a wave; return how many."""
        return self._move(run_id, RouteProgress.FAILED, RouteProgress.WAITING, None, wave=number)

    def skip(self, run_id: str, route_id: RouteId) -> bool:
        """Skip a route that waits, has failed or is skipped; return whether that was possible."""
        with self._database.writing() as session:
            row = session.get(RolloutRouteRow, (run_id, route_id))
            skippable = {RouteProgress.WAITING, RouteProgress.FAILED, RouteProgress.SKIPPED}
            if row is None or row.progress not in skippable:
                return False
            row.progress, row.fault = RouteProgress.SKIPPED, None
            session.add(row)
            return True

    def counts(self, run_id: str) -> Mapping[RouteProgress, int]:
        """Return how many routes of a rollout have each progress."""
        with self._database.reading() as session:
            return total_counts(counts_by_wave(session, run_id))

    def list(
        self,
        run_id: str,
        progress: RouteProgress | None = None,
        limit: int | None = None,
    ) -> list[RouteOutcome]:
        """Return the routes of a rollout, in the order of their position.

        Invalid ones are noted and left out.
        """
        query = _of(run_id).order_by(col(RolloutRouteRow.position)).limit(limit)
        if progress is not None:
            query = query.where(RolloutRouteRow.progress == progress)
        with self._database.reading() as session:
            return read_good(session.exec(query), outcome_of)

    def _move(
        self,
        run_id: str,
        source: RouteProgress,
        target: RouteProgress,
        number: int | None,
        **more: Any,
    ) -> int:
        query = update(RolloutRouteRow).where(
            col(RolloutRouteRow.rollout_run_id) == run_id,
            col(RolloutRouteRow.progress) == source,
        )
        if number is not None:
            query = query.where(col(RolloutRouteRow.wave) == number)
        with self._database.writing() as session:
            moved = session.connection().execute(query.values(progress=target, **more))
            return moved.rowcount


def _rows(
    run_id: str, waves: Sequence[Sequence[RouteId]], first: int, position: int
) -> Iterator[Mapping[str, Any]]:
    """Return the parameters of `_INSERT_PLANNED` for each route, after the last `position`."""
    for number, wave in enumerate(waves, start=first):
        for route_id in wave:
            position += 1
            yield {
                "rollout_run_id": run_id,
                "route_id": route_id,
                "of_route": route_id,
                "wave": number,
                "position": position,
                "requeued": 0,
                "progress": RouteProgress.WAITING,
            }


def _without_route(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "of_route"}


def _keep_previous_releases(session: Session, claims: Sequence[RolloutRouteRow]) -> None:
    """Keep the current release of routes that a rollout is about to change for the first time.

    It may differ from the one at the time of the plan. A route with a fault was claimed before,
    and may run the rollout's release by now.
    """
    first = {row.route_id: row for row in claims if row.fault is None}
    if not first:
        return
    current = select(RouteRow.route_id, RouteRow.current_release_tag).where(
        col(RouteRow.route_id).in_(first)
    )
    for route_id, tag in session.exec(current):
        first[route_id].previous_release_tag = tag


def _of(run_id: str) -> Any:
    return select(RolloutRouteRow).where(RolloutRouteRow.rollout_run_id == run_id)


def _count(session: Session, *where: Any) -> int:
    return session.exec(select(func.count()).select_from(RolloutRouteRow).where(*where)).one()


def counts_by_wave(session: Session, run_id: str) -> WaveCounts:
    """Return how many routes of each wave of a rollout have each progress."""
    waves: dict[int, Counter[RouteProgress]] = {}
    for wave, progress, count in session.exec(_COUNTS, params={"of_run": run_id}):
        # One that was made invalid by hand: nothing is done on the route any more.
        known = progress in {*RouteProgress}
        counts = waves.setdefault(wave, Counter())
        counts[RouteProgress(progress) if known else RouteProgress.SKIPPED] += count
    return waves


def total_counts(waves: WaveCounts) -> Mapping[RouteProgress, int]:
    """Return how many routes of all waves have each progress."""
    return dict(sum((Counter(counts) for counts in waves.values()), Counter[RouteProgress]()))


def listed_routes(
    session: Session, run_id: str, counts: Mapping[RouteProgress, int]
) -> Sequence[RouteOutcome]:
    """Return the routes of a rollout that a message lists, in the order of their position.

    Invalid ones are noted and left out.

    Args:
        session: for reading.
        run_id: the rollout's.
        counts: of its routes by progress. If there are too many routes, only those in progress are
            listed, and those with a fault, the failed ones first.
    """
    query = _of(run_id).order_by(col(RolloutRouteRow.position))
    if sum(counts.values()) <= MAX_LISTED_ROUTES:
        return read_good(session.exec(query), outcome_of)
    progress = col(RolloutRouteRow.progress)
    in_progress = sum(counts.get(each, 0) for each in IN_PROGRESS)
    faulted = (
        _of(run_id)
        .where(col(RolloutRouteRow.fault).is_not(None), progress.not_in(IN_PROGRESS))
        .order_by(progress.not_in(FAILURES), col(RolloutRouteRow.position))
        .limit(MAX_LISTED_ROUTES - min(in_progress, _LISTED_IN_PROGRESS))
    )
    rows = list(session.exec(faulted).all())
    active = query.where(progress.in_(IN_PROGRESS)).limit(MAX_LISTED_ROUTES - len(rows))
    rows += session.exec(active).all()
    return read_good(sorted(rows, key=lambda row: row.position), outcome_of)
