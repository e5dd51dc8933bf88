"""`python -m relight.domain.fault.document`: the table of faults as a document for operators."""

import sys

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES, Remedy

_OPENING = """\
# Faults

Made from `relight/domain/fault/table.py` by `make docs`: change it there.

Each failure is one of these kinds. Its class says at whose door it lies: only host and release
faults spend a rollout's failure budget; the others blame no host, and are one incident for a whole
rollout. A fault is always shown with what was attempted, on which host, the command, its exit code,
its last words, and the unit's last log lines where there is a unit.

"""

_REMEDIES = {
    Remedy.REPAIR: "the next operation on the host begins with mending what it finds",
    Remedy.ROLL_BACK: "bring the route back to the release before: `relight route rollback`",
    Remedy.REPLACE: "give the route another machine",
    Remedy.WAIT: "no host is to blame: go on when what is missing is back",
    Remedy.ASK: "a person has to decide",
    Remedy.NONE: "nothing was changed, so there is nothing to mend",
}

_CLASSES = {
    FaultClass.HOST: "Something is wrong with one host.",
    FaultClass.RELEASE: "The release itself is bad: it would fail on other hosts as well.",
    FaultClass.REPOSITORY: "The place that releases come from is down, torn or not to be trusted.",
    FaultClass.PROVIDER: "The cloud that sells machines does not do what it is asked.",
    FaultClass.CONTROLLER: "It lies with the control plane, or with what it was asked for.",
}


def document() -> str:
    """Return the document, in Markdown."""
    lines = [_OPENING + "| remedy | meaning |", "| --- | --- |"]
    lines += [f"| {remedy} | {meaning} |" for remedy, meaning in _REMEDIES.items()]
    for fault_class, meaning in _CLASSES.items():
        lines += ["", f"## {fault_class.capitalize()}", "", meaning, ""]
        lines += ["| kind | tried again | then | what it means | what to do |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        lines += [
            f"| `{kind}` | {'yes' if rule.retried else 'no'} | {rule.remedy} | {rule.meaning} "
            f"| {rule.advice} |"
            for kind, rule in RULES.items()
            if rule.fault_class is fault_class
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
