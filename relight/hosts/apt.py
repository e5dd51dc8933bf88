"""The reasons why apt failed, parsed from its output. Pure: no I/O, tested on captured output."""

import re
from typing import NamedTuple

from relight.domain.text import head, tail

MAX_OUTPUT_BYTES, MAX_LINE_BYTES = 256 * 1024, 1024
"""How much of an output is searched, from its end, and how much of each line."""

RETRY_NOTICE = "relight: retrying with all apt sources of this host"
"""The line that `relight-host` prints before its second attempt."""

NO_REASON = "it gave no reason"
"""The text of a diagnosis for output that matches no rule."""

REFUSED = "relight: refused: "
"""Start of the line by which `relight-host` refuses a file that it fetched."""


class Diagnosis(NamedTuple):
    """The reason why apt failed.

    Attributes:
        kind: a kind of `PackageError`.
        text: the line of output that states it.
    """

    kind: str
    text: str


def diagnose(output: str, package: str) -> Diagnosis:
    """Return the reason why apt or dpkg failed.

    Args:
        output: all standard output and error, in the C locale.
        package: the package that was to change. If a maintainer script of another package fails,
            that is a fault of the host, not of the release.
    """
    # A pattern may take the square of a line's length: lines are cut first.
    lines = tail(output, MAX_OUTPUT_BYTES).split("\n")
    output = "\n".join(head(line, MAX_LINE_BYTES) for line in lines)
    # A second attempt is made only for a reason that the first one printed: ignore the first.
    output = output.rpartition(RETRY_NOTICE)[2]
    script = _SCRIPT.search(output)
    if script is not None:
        # A name, or the path of a .deb; apt prefixes a number when it unpacks several.
        ours = re.search(rf"(?:^|/(?:\d+-)?){re.escape(package)}(?:_|:|$)", script["subject"])
        return Diagnosis("maintainer-script-failed" if ours else "apt-failed", script["text"])
    for pattern, kind in _RULES:
        found = pattern.search(output)
        if found is not None:
            return Diagnosis(kind, _with_lock_holder(found.group().strip(), kind, output))
    last = _ERROR_LINE.findall(output)
    return Diagnosis("apt-failed", last[-1] if last else NO_REASON)


# The first match decides: causes come before their consequences. Only lines by which apt or dpkg
# gives up count: "Waiting for cache lock" is also printed before a success.
_RULES = tuple(
    (re.compile(pattern, re.MULTILINE), kind)
    for pattern, kind in (
        (r"^.*No space left on device.*$", "disk-full"),
        (r"^E: You don't have enough free space.*$", "disk-full"),
        (r"^E: dpkg was interrupted.*$", "dpkg-interrupted"),
        (r"^E: Unable to acquire the dpkg frontend lock.*$", "dpkg-lock-held"),
        (r"^E: Unable to lock the administration directory.*$", "dpkg-lock-held"),
        (r"^E: Unable to lock directory /var/cache/apt/archives.*$", "dpkg-lock-held"),
        (r"^dpkg: error: dpkg .*lock was locked by another process.*$", "dpkg-lock-held"),
        (r"^E: Unable to lock directory /var/lib/apt/lists.*$", "lists-lock-held"),
        (r"^E: Held packages were changed.*$", "packages-held"),
        (r"^E: Packages were downgraded.*$", "downgrade-refused"),
        (r"^E: Version '.*' for '.*' was not found.*$", "version-not-listed"),
        (r"^E: Unable to locate package .*$", "version-not-listed"),
        (r"^.* : (?:Pre-)?Depends: .*$", "dependencies-missing"),
        (r"^E: Release file for .* is not valid yet.*$", "clock-behind"),
        (r"^E: Release file for .* is expired.*$", "repository-untrusted"),
        (r"^W: .*GPG error: .*$", "repository-untrusted"),
        (r"^E: .*Clearsigned file isn't valid.*$", "repository-untrusted"),
        (r"^E: The repository '.*' does not have a Release file.*$", "repository-unreachable"),
        (
            r"^E: Failed to fetch .*(?:Hash Sum mismatch|unexpected size|  404  ).*$",
            "repository-inconsistent",
        ),
        (r"^E: Failed to fetch .*$", "repository-unreachable"),
        # apt prints this also for a repository that it could not fetch.
        (r"^E: The repository '.*' is (?:not|no longer) signed.*$", "repository-untrusted"),
        # Printed by relight-host, for a file that it fetches by URL.
        (rf"^{REFUSED}.*$", "repository-inconsistent"),
        (r"^curl: \(23\) .*$", "disk-full"),
        (r"^curl: \(22\) .* (?:404|410)\b.*$", "repository-inconsistent"),
        (r"^curl: \(63\) .*$", "repository-inconsistent"),
        (r"^curl: \(60\) .*$", "repository-untrusted"),
        (r"^curl: \(\d+\) .*$", "repository-unreachable"),
        (r"^E: Sub-process .* (?:exited unexpectedly|received signal).*$", "dpkg-interrupted"),
    )
)
_SCRIPT = re.compile(
    r"^dpkg: error processing (?:package|archive) (?P<subject>\S++).*+\n"
    r"\s*+(?P<text>.*script subprocess (?:returned|was).*)$",
    re.MULTILINE,
)
_LOCK_HOLDER = re.compile(r"It is held by process \d+ \([^)\n]*\)")
_ERROR_LINE = re.compile(r"^(?:E|dpkg): .*$", re.MULTILINE)


def _with_lock_holder(text: str, kind: str, output: str) -> str:
    holder = _LOCK_HOLDER.search(output) if kind.endswith("lock-held") else None
    return f"{text} {holder.group()}" if holder else text
