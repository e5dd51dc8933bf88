"""`python -m relight.domain.fault.document`: the table of faults as Markdown, for operators."""

import sys

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES

_OPENING = """\
# Faults

Generated from `relight/domain/fault/` by `make docs`: change it there.

Each failure is one of these kinds. Its class is the part that is to blame. In a rollout, a fault
with the remedy `wait` is an incident: the rollout is `held` until the cause is gone. An incident
that lasts longer than `--incident-limit` pauses the rollout. A route whose operation was refused
is `skipped`. Any other fault means that the route `failed`, which spends the failure budget. A
fault is always shown with what was attempted, the host, the command, its exit
code, its last output, and the unit's last log lines if there is a unit.

"""

_LOCKED_OUT = """
These faults lock the control plane out of a host that answers: {kinds}.
On one host they are that host's. On many at once they are one incident of the control plane: a
client key, a host-key secret or a sudo rule is wrong. The breaker opens (`relight breaker status`),
nothing is destroyed, rollouts are held, and no release is blamed. Once the right key is back, one
reconcile run proves all these machines again.
"""

_REMEDIES = {
    Remedy.REPAIR: "the next operation on the host begins with a repair of what it finds",
    Remedy.ROLL_BACK: "bring the route back to the last proven release: `relight route rollback`",
    Remedy.REPLACE: "give the route another machine",
    Remedy.WAIT: "no host is to blame: continue when the cause is gone",
    Remedy.ASK: "a person has to decide: `relight route show ROUTE` shows the fault and what to do",
    Remedy.NONE: "nothing was changed, so nothing needs a repair",
}

_CLASSES = {
    FaultClass.HOST: "One host has a problem.",
    FaultClass.RELEASE: "The release is bad: it would fail on other hosts as well.",
    FaultClass.REPOSITORY: "The source of releases is down, inconsistent or not trustworthy.",
    FaultClass.PROVIDER: "The provider does not do what was requested.",
    FaultClass.CONTROLLER: "The control plane, or the request to it, is the cause.",
}


def document() -> str:
    """Return the document, in Markdown."""
    lines = [_OPENING + "| remedy | meaning |", "| --- | --- |"]
    lines += [f"| {remedy} | {meaning} |" for remedy, meaning in _REMEDIES.items()]
    kinds = [f"`{kind}`" for kind, rule in RULES.items() if rule.locks_out]
    lines += [_LOCKED_OUT.format(kinds=", ".join(kinds)).rstrip()]
    for fault_class, meaning in _CLASSES.items():
        lines += ["", f"## {fault_class.capitalize()}", "", meaning, ""]
        lines += ["| kind | retried | remedy | in a rollout | meaning | what to do |"]
        lines += ["| --- | --- | --- | --- | --- | --- |"]
        lines += [
            f"| `{kind}` | {'yes' if rule.retried else 'no'} | {rule.remedy} | {rule.in_rollout} "
            f"| {rule.meaning} | {rule.advice} |"
            for kind, rule in RULES.items()
            if rule.fault_class is fault_class
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
