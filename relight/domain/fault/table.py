"""The table of faults: the class, remedy and advice of every kind.

It is closed: errors name a kind of this table and nothing else. `docs/faults.md` is generated from
it (`make docs`).
"""

from collections.abc import Mapping

from relight.domain.fault.controller_rules import CONTROLLER_RULES
from relight.domain.fault.fault import Fault
from relight.domain.fault.host_rules import HOST_RULES
from relight.domain.fault.image_rules import IMAGE_RULES
from relight.domain.fault.package_rules import PACKAGE_RULES
from relight.domain.fault.rule import Remedy, RolloutEffect, Rule
from relight.domain.fault.supply_rules import SUPPLY_RULES

_LAST_RESORT = (
    " If the host fails with every release, `relight route replace ROUTE` gives the route another "
    "machine."
)
"""A rollback or a repair alone would be no way out of a fault that stays."""

_ON_THE_HOST = frozenset({Remedy.ROLL_BACK, Remedy.REPAIR})


def _complete(rule: Rule) -> Rule:
    if rule.remedy in _ON_THE_HOST:
        return rule._replace(advice=rule.advice + _LAST_RESORT)
    return rule


RULES: Mapping[str, Rule] = {
    kind: _complete(rule)
    for kind, rule in {
        **HOST_RULES,
        **PACKAGE_RULES,
        **SUPPLY_RULES,
        **IMAGE_RULES,
        **CONTROLLER_RULES,
    }.items()
}
"""The rule of each kind, in the order of the document."""


def effect_in_rollout(fault: Fault) -> RolloutEffect:
    """Return what a fault does to its rollout. A kind of a newer version fails the route."""
    rule = RULES.get(fault.kind)
    return RolloutEffect.FAILED if rule is None else rule.in_rollout


def locks_out(kind: str) -> bool:
    """Return whether a host with this kind of fault answered, but locked the control plane out."""
    rule = RULES.get(kind)
    return rule is not None and rule.locks_out


def fault(kind: str, summary: str, attempted: str = "") -> Fault:
    """Return a fault without a host, with the class and refusal of its kind's rule."""
    rule = RULES[kind]
    return Fault(
        kind=kind,
        fault_class=rule.fault_class,
        summary=summary,
        attempted=attempted,
        refused=rule.is_refusal,
    )
