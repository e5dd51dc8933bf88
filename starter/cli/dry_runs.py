"""The dry runs of a release on one host of each region, as its last preflight recorded them."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from relight.domain.base import Message
from relight.domain.event import PREFLIGHT_PASSED, EventFilter
from relight.domain.install_plan import InstallPlan
from relight.domain.names import ReleaseTag, ScopeName

if TYPE_CHECKING:  # slow to import
    from relight.store.store import Store

_MAX_EVENTS = 200
"""How many of the last preflights are searched."""


class DryRun(Message):
    """A dry run on one host.

    Attributes:
        at: when it was recorded, UTC.
    """

    region: str
    machine_key: str
    at: datetime
    plan: InstallPlan


class _Detail(Message):
    dry_run_on: Mapping[str, str]
    plans: Mapping[str, InstallPlan]


def last_dry_runs(store: "Store", tag: ReleaseTag, scope: ScopeName) -> tuple[DryRun, ...]:
    """Return the dry runs of the newest preflight of a release over a scope; none without one."""
    events, _ = store.events.page(EventFilter(kind=PREFLIGHT_PASSED), _MAX_EVENTS)
    for event in reversed(events):
        if event.release_tag == tag and event.detail.get("scope") == scope:
            found = _Detail.model_validate(event.detail)
            return tuple(
                DryRun(region=region, machine_key=found.dry_run_on[region], at=event.at, plan=plan)
                for region, plan in sorted(found.plans.items())
            )
    return ()
