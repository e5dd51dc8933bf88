"""Disruption budgets: how many routes may be out of service at once."""

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from messages.base import Message, Origin
from messages.names import RouteId


def _lets_one_go(size: str) -> str:
    if size.endswith("%") and not 1 <= int(size[:-1]) <= 100:
        msg = f"a disruption budget's share is 1% to 100% of the routes, not {size}"
        raise ValueError(msg)
    if re.fullmatch(r"0+", size):
        msg = "a disruption budget lets at least 1 route out: to forbid all, use a freeze window"
        raise ValueError(msg)
    return size


BudgetSize = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,6}%?$"), AfterValidator(_lets_one_go)
]
"""How many routes may be out at once: a count, `2`, or a share of those in service, `10%`."""


class DisruptionBudget(Message):
    """How many routes may be out at once, whatever took them out. None sets no limit.

    A share is rounded down, so that it is never exceeded, but to no less than one route: where
    none may ever be out, nothing can be changed in place.

    Attributes:
        provider: of each provider's routes.
        region: of the routes in each region of a provider.
        track: of each track's routes.
    """

    provider: BudgetSize | None = None
    region: BudgetSize | None = None
    track: BudgetSize | None = None


class TakeDisruptionInput(Message):
    """Take a route out within the budgets that reconciliation keeps; or refuse."""

    route_id: RouteId
    reason: str
    origin: Origin
