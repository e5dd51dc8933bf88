"""Rows of a rollout's routes as outcomes, also where one was made invalid by hand."""

from relight.domain.rollout.rollout import RouteOutcome
from relight.store.bad_rows import read_or_note
from relight.store.rows import read_row
from relight.store.tables import RolloutRouteRow


def outcome_of(row: RolloutRouteRow) -> RouteOutcome:
    """Return a row's outcome."""
    return read_row(RouteOutcome, row, f"route {row.route_id} of a rollout")


def outcome_of_work(row: RolloutRouteRow) -> RouteOutcome:
    """Return the outcome of a route that the wave works on.

    A fault or a previous release that were made invalid by hand are dropped: without them the
    route goes on.
    """
    if read_or_note(row, outcome_of) is None:
        row.fault = row.previous_release_tag = None
    return outcome_of(row)
