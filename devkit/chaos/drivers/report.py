"""The results of runs over vendors, as a table: a column for each vendor."""

from collections.abc import Sequence

from rich.table import Table

from devkit.chaos.drivers.driver_worker import Call
from devkit.chaos.drivers.play import Played
from devkit.chaos.drivers.unreliable import Fault
from tests.providers.fakes.base import Trap

_FAULTS = (*Fault, Trap.DUPLICATE_LISTING, Trap.STALE_LISTING)


def table_of(runs: Sequence[Played]) -> Table:
    """Return the table of some runs."""
    table = Table("", *(run.provider for run in runs), title="Drivers")
    rows = {
        "calls to create": [run.calls[Call.ENSURE] for run in runs],
        "calls to destroy": [run.calls[Call.DESTROY] for run in runs],
        "attempts to create": [run.attempts[Call.ENSURE] for run in runs],
        "attempts to destroy": [run.attempts[Call.DESTROY] for run in runs],
        "machines created": [run.created for run in runs],
        "machines destroyed": [run.destroyed for run in runs],
        "requests": [run.requests for run in runs],
        **{each.value: [run.injected[each] for run in runs] for each in _FAULTS},
        "workers killed": [run.kills for run in runs],
        "calls killed with them": [run.killed_calls for run in runs],
        "denied, and still reachable": [run.reached for run in runs],
        "seconds billed": [round(run.billed) for run in runs],
        "seconds": [round(run.seconds) for run in runs],
        "violations": [len(run.violations) for run in runs],
    }
    for name, values in rows.items():
        table.add_row(name, *map(str, values))
    return table
