"""The results of distrust rounds: a table by what was wrong, and the violations."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from devkit.chaos.distrust.judge import Why
from devkit.chaos.distrust.rounds import Round, Source


def table_of(rounds: Sequence[Round]) -> Table:
    """Return one row for each source of truth, and one for all."""
    reasons = list(Why)
    table = Table(
        *("wrong", "rounds", "seconds each", "kills", "incidents"),
        *(f"destroyed: {why}" for why in reasons),
        "violations",
        title="Distrust",
    )
    for source in (*Source, None):
        played = [each for each in rounds if source in (None, each.source)]
        destroyed = sum((each.destroyed for each in played), Counter[Why]())
        seconds = sum(each.seconds for each in played) / max(len(played), 1)
        table.add_row(
            source or "all",
            str(len(played)),
            f"{seconds:.1f}",
            str(sum(each.kill is not None for each in played)),
            str(sum(each.incidents for each in played)),
            *(str(destroyed[why]) for why in reasons),
            str(sum(len(each.violations) for each in played)),
            end_section=source is Source.HOSTILE_HOSTS,
        )
    return table
