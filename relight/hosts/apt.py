"""What apt's and dpkg's words mean. Pure: no I/O, tested on captured output."""

import re
from typing import NamedTuple

ONCE_MORE = "relight: once more, with all of this machine's sources"
"""What the transaction says before its second attempt."""

NO_REASON = "it gave no reason"
"""The text of a diagnosis that none was found for."""

REFUSED = "relight: refused: "
"""How the transaction begins the line in which it refuses a file that it fetched."""


class Diagnosis(NamedTuple):
    """What made apt fail.

    Attributes:
        kind: a kind of `PackageError`.
        text: the line that says it.
    """

    kind: str
    text: str


# The first that matches decides: what broke comes before what it broke. Only lines by which apt
# or dpkg gives up count; "Waiting for cache lock" may well have ended in success.
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
        # It says so also of one that it could not fetch.
        (r"^E: The repository '.*' is (?:not|no longer) signed.*$", "repository-untrusted"),
        # Of a file that the host fetches by itself.
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
    r"^dpkg: error processing (?:package|archive) (?P<of>\S+).*\n"
    r"\s*(?P<text>.*script subprocess (?:returned|was).*)$",
    re.MULTILINE,
)
_HOLDER = re.compile(r"It is held by process \d+ \([^)]*\)")
_LAST_WORD = re.compile(r"^(?:E|dpkg): .*$", re.MULTILINE)


def diagnose(output: str, package: str) -> Diagnosis:
    """Say why apt or dpkg failed, from all that it printed.

    Args:
        output: its standard output and error, in the C locale.
        package: the package that was to change: a failing maintainer script of another one is
            the host's own trouble, and not the release's.
    """
    output = output.rpartition(ONCE_MORE)[2]  # what failed first is why there was a second
    script = _SCRIPT.search(output)
    if script is not None:
        # A name, or the path of a .deb, which apt numbers where it unpacks several.
        ours = re.search(rf"(?:^|/(?:\d+-)?){re.escape(package)}(?:_|:|$)", script["of"])
        return Diagnosis("maintainer-script-failed" if ours else "apt-failed", script["text"])
    for pattern, kind in _RULES:
        found = pattern.search(output)
        if found is not None:
            return Diagnosis(kind, _with_holder(found.group().strip(), kind, output))
    last = _LAST_WORD.findall(output)
    return Diagnosis("apt-failed", last[-1] if last else NO_REASON)


def _with_holder(text: str, kind: str, output: str) -> str:
    holder = _HOLDER.search(output) if kind.endswith("lock-held") else None
    return f"{text} {holder.group()}" if holder else text
