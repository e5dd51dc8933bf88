"""What apt would do, parsed from a dry run of `relight-host`. Pure; what it prints is bounded."""

import re
from collections.abc import Sequence

from relight.domain.install_plan import MAX_NAMED, InstallPlan
from relight.domain.text import tail
from relight.hosts.apt import LOCKED_NOTICE, MAX_OUTPUT_BYTES, RETRY_NOTICE

# `Inst NAME [OLD] (NEW SOURCE [ARCHITECTURE])`, `Remv NAME [OLD]`. A name is as long as dpkg's.
_CHANGE = re.compile(
    r"^(?P<verb>Inst|Remv|Purg) (?P<name>[a-z0-9][a-z0-9.+:-]{1,200})"
    r"(?: \[(?P<old>[^\]\s]{1,100})\])?(?: \((?P<new>\S{1,100}))?",
    re.MULTILINE,
)
_DOWNGRADED = re.compile(
    r"^The following packages will be DOWNGRADED:\n((?:  .*(?:\n|\Z))+)", re.MULTILINE
)
_URI = re.compile(r"^'[^'\n]+' \S+ (\d{1,15})\b", re.MULTILINE)
_DISK = re.compile(
    r"^After this operation, ([\d.,]{1,20}) ([kMGT]?)B (of additional disk space will be used|disk "
    r"space will be freed)",
    re.MULTILINE,
)
_FREE = re.compile(r"^relight: free in (\S+): (\d{1,18})$", re.MULTILINE)
_POWERS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_plan(output: str) -> InstallPlan:
    """Parse the output of a dry run that succeeded; only its last attempt counts."""
    output = tail(output, MAX_OUTPUT_BYTES)
    output = output.rpartition(LOCKED_NOTICE)[2].rpartition(RETRY_NOTICE)[2]
    found = _DOWNGRADED.search(output)
    older = set(found[1].split()) if found else set()
    installed, upgraded, downgraded, removed = [], [], [], []
    for change in _CHANGE.finditer(output):
        name, old, new = change["name"], change["old"], change["new"]
        if change["verb"] != "Inst":
            removed.append(f"{name} {old or ''}".strip())
        elif old is None:
            installed.append(f"{name} {new or ''}".strip())
        elif name in older:
            downgraded.append(f"{name} {old} -> {new}")
        else:
            upgraded.append(f"{name} {old} -> {new}")
    kinds = (installed, upgraded, downgraded, removed)
    free = {folder: int(count) for folder, count in _FREE.findall(output)}
    return InstallPlan(
        installed=_named(installed),
        upgraded=_named(upgraded),
        downgraded=_named(downgraded),
        removed=_named(removed),
        unnamed=sum(max(len(each) - MAX_NAMED, 0) for each in kinds),
        download_bytes=sum(map(int, _URI.findall(output))),
        disk_bytes=_disk(output),
        free_bytes=free.get("/usr"),
    )


def _named(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[:MAX_NAMED])


def _disk(output: str) -> int:
    found = _DISK.search(output)
    if found is None:
        return 0
    try:
        count = float(found[1].replace(",", "")) * _POWERS[found[2]]
    except ValueError:
        return 0
    return int(count) if found[3].startswith("of") else -int(count)
