"""The limits of the breaker and of the disruption budget, as commands show them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.destruction import HOUR
from relight.domain.disruption import DisruptionBudget, take_census
from relight.domain.limit_use import LimitUse, destruction_uses, disruption_uses
from relight.settings import Settings
from starter.cli.output import print_line, print_table

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.store.store import Store


def limit_uses(settings: Settings, store: "Store") -> tuple[LimitUse, ...]:
    """Return every limit, with what is used of it now."""
    now = datetime.now(UTC)
    census = take_census(store.routes.list())
    held = {each.route_id for each in store.disruptions.list()}
    census = replace(census, out=census.out | (held & census.routes.keys()))
    return (
        *destruction_uses(store.destructions.list(now - HOUR), settings.breaker, now),
        *disruption_uses(census, settings.reconcile.strategy.disruption_budget),
    )


def print_limits(uses: Sequence[LimitUse], limits: BreakerLimits, budget: DisruptionBudget) -> None:
    """Print the limits, and those of which something is used."""
    print_line(
        f"destroyed per hour: at most {limits.destroyed_per_hour}, and "
        f"{limits.destroyed_per_hour_in_region} in a region"
    )
    sizes = (("provider", budget.provider), ("region", budget.region), ("track", budget.track))
    parts = [f"{size} of a {kind}" for kind, size in sizes if size is not None]
    print_line(f"out at once: at most {', '.join(parts)}" if parts else "out at once: no limit")
    used = [each for each in uses if each.used]
    if not used:
        print_line("of no limit anything is used now")
        return
    print_table(
        ("limit", "of", "used", "frees"),
        (
            (each.kind, each.group, f"{each.used} of {each.limit}", each.frees or None)
            for each in used
        ),
    )
