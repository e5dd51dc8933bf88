"""`python -m devkit.words`: refuses the words that docs/glossary.md retired, wherever they stand.

The glossary names one word for each thing. The old migrations keep their names: databases were
made by them.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
EXEMPT = re.compile(
    r"docs/glossary\.md|devkit/words\.py|tests/devkit/test_words\.py|.*\.lock"
    r"|relight/store/migrations/versions/000[1-4].*|tests/store/rows_at_0003\.json"
    r"|docs/services-tried\.md"
)

RETIRED = {
    r"treatments?": "remediation",
    r"heal|heals|healed|healing": "remediation",
    r"(route|rollout|store)[ _.]care|care_of": "remediation",
    r"succession|successors?": "replacement",
    r"drafts?": "plan builder",
    r"rehears\w*": "dry run, or simulation",
    r"witness\w*": "connectivity check",
    r"steer\w*": "controls",
    r"\w*board(?<!keyboard)(?<!dashboard)(?<!onboard)": "state",
    r"doomed|bury|buried|buries": "removal",
    r"insists?|insisted": "retry until done",
    r"sight(ing|ings|ed)|look(s|ed|ing)? (again|anew)|looked at": "observation, or verify",
    r"(?<!--)(?<!pip[- ])(?<!make )audit\w*": "verify",
    r"(?<!reload )(?<!cups-)daemons?(?![- ]re(load|exec)|=| threads)": "service",
    r"unsure": "unknown",
    r"restrain\w*": "hold",
    r"anew": "again",
    r"mishaps?|befalls?|befell": "fault, or injection",
    r"whose door|at (whose|its|their) door": "class",
    r"told of|tells? of|is told that": "report",
    r"how-manieth|manieth": "sequence number",
    r"(a|the|one|each|every|next|this|another|last) pass(es)?(?! (through|over|on))"
    r"|pass(es)? of reconciliation": "reconcile run",
    r"artifacts?": "deb file",
    r"helper-missing|host-helper": "host program",
    r"VPS(es)?": "host, or machine",
    r"ke(ep|eps|eping|pt) (the control plane|us) out": "lock out",
    r"rollout speed|breaker reset": "rollout set-concurrency, breaker override add",
    r"grumbl\w*|amiss|fares? well|machinery's hands": "plain words",
}
"""Regular expressions of retired words, without regard to case; each with its replacement."""

_WORD = re.compile(
    "|".join(f"(?P<w{number}>{word})" for number, word in enumerate(RETIRED)), re.IGNORECASE
)
_REPLACEMENTS = tuple(RETIRED.values())


class Finding(NamedTuple):
    """A retired word in a line.

    Attributes:
        line: its number, from 1; 0 for the file's own path.
    """

    file: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word!r}: say {self.instead}"


def findings(text: str, file: str = "") -> Iterator[Finding]:
    """Yield the retired words of a text; parts of identifiers count as words."""
    for number, line in enumerate([file, *text.splitlines()]):
        for match in _WORD.finditer(_as_words(line)):
            before, after = match.string[: match.start()], match.string[match.end() :]
            if re.search(r"[a-z0-9]$", before, re.IGNORECASE) or re.match(r"[a-z0-9]", after, re.I):
                continue
            if match[0].lower() == "draft" and "github" in file:
                continue  # GitHub's own name of an unpublished release.
            if match[0] == "audit" and file == "Makefile":
                continue  # `make audit` runs pip-audit.
            yield Finding(file, number, match[0], _REPLACEMENTS[int((match.lastgroup or "w0")[1:])])


def _as_words(line: str) -> str:
    """Return a line in which the parts of identifiers stand alone: `RouteCareRow`, `route_care`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line).replace("_", " ")


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Yield each tracked file with its text; files that are not UTF-8 are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - as installed
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in listed:
        path = ROOT / name
        if EXEMPT.fullmatch(name) or not path.is_file():
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def main() -> int:
    """Print each finding; return how many there are, at most 1 for an exit code."""
    found = [each for name, text in tracked_texts() for each in findings(text, name)]
    for each in found:
        sys.stdout.write(f"{each}\n")
    sys.stdout.write(f"retired words left: {len(found)}\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
