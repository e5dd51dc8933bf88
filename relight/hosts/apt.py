"""The reasons why apt failed, parsed from its output. Pure: no I/O, tested on captured output."""

import re
from typing import NamedTuple

from relight.domain.fault.output import without_progress
from relight.domain.text import head, tail

MAX_OUTPUT_BYTES, MAX_LINE_BYTES = 256 * 1024, 1024
"""How much of an output is searched, from its end, and how much of each line."""

LOCKED_NOTICE = "relight: retrying with the packages that are locked to it"
"""Start of the line that `relight-host` prints before its second attempt."""

RETRY_NOTICE = "relight: retrying with all apt sources of this host"
"""The line that it prints before its last attempt."""

NOT_REFRESHED = "relight: the host's own apt sources could not be refreshed"
"""The line that it prints if its last attempt has old lists, or none."""

NO_OUTPUT = "it printed nothing"
"""The text of a diagnosis without any output."""

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
    # A further attempt is made only for a reason that the one before printed: ignore that one.
    everywhere = RETRY_NOTICE in output
    output = output.rpartition(LOCKED_NOTICE)[2].rpartition(RETRY_NOTICE)[2]
    script = _SCRIPT.search(output)
    if script is not None:
        # A name, or the path of a .deb; apt prefixes a number when it unpacks several.
        ours = re.search(rf"(?:^|/(?:\d+-)?){re.escape(package)}(?:_|:|$)", script["subject"])
        return Diagnosis("maintainer-script-failed" if ours else "apt-failed", script["text"])
    for pattern, kind in _RULES:
        found = pattern.search(output)
        if found is not None:
            return _completed(kind, found.group().strip(), output, everywhere=everywhere)
    return Diagnosis("apt-failed", _unknown_reason(output))


def states_error(output: str) -> bool:
    """Return whether apt, dpkg or curl states an error in an output."""
    return any(map(_ERROR_LINE.match, output.split("\n")))


def _completed(kind: str, text: str, output: str, *, everywhere: bool) -> Diagnosis:
    """Return the reason with what other lines have of it.

    Args:
        kind: of the line that states it.
        text: that line.
        output: of the last attempt.
        everywhere: whether that attempt read the host's own sources too.
    """
    if kind == REMOVAL:
        removed = _REMOVED.search(output)
        return Diagnosis(
            kind, f"it would remove {', '.join(removed[1].split())}" if removed else text
        )
    if kind.endswith("lock-held"):
        holder = _LOCK_HOLDER.search(output)
        return Diagnosis(kind, f"{text} {holder.group()}" if holder else text)
    if kind in _FETCHES and everywhere and not any(url in text for url in _OURS.findall(output)):
        return Diagnosis(HOST_SOURCES, text)
    if kind == "dependencies-missing" and NOT_REFRESHED in output:
        # A refreshed list might have it.
        failed = _FETCH_FAILED.search(output)
        return Diagnosis(HOST_SOURCES, f"{text} ({failed.group()})" if failed else text)
    if kind == "repository-unreachable" and (proxy := _failed_proxy(text, output)):
        return Diagnosis("host-proxy-failed", f"{text} (the proxy of the host's apt is {proxy})")
    return Diagnosis(kind, text)


def _failed_proxy(text: str, output: str) -> str | None:
    """Return the host's proxy if it is what did not answer; None if it did, or there is none."""
    for proxy in _PROXY.findall(output):
        address = str(proxy).rpartition("@")[2]  # without its password
        if address.partition(":")[0] in text or "  407  " in text:
            return address
    return None


def _unknown_reason(output: str) -> str:
    """Return the line of an output that failed: no progress, and nothing that follows from it."""
    lines = [line for line in without_progress(output.split("\n")) if line.strip()]
    causes = [line for line in lines if not _CONSEQUENCE.match(line)]
    errors = [line for line in causes if _ERROR_LINE.match(line)]
    return (errors[0] if errors else (causes or lines or [NO_OUTPUT])[-1]).strip()


REMOVAL, HOST_SOURCES = "removal-refused", "host-sources-failed"
_FETCHES = frozenset({"repository-unreachable", "repository-inconsistent", "repository-untrusted"})

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
        (r"^E: Unable to lock directory \S*/apt/lists/.*$", "lists-lock-held"),
        (r"^E: Held packages were changed.*$", "packages-held"),
        (r"^E: Packages were downgraded.*$", "downgrade-refused"),
        (r"^relight: the apt preferences of this host forbid it$", "host-policy-refuses"),
        (r"^E: (?:Packages need to be removed|Essential packages were removed).*$", REMOVAL),
        (r"^ *trying to overwrite '.*', which is also in package .*$", "package-files-conflict"),
        (r"^(?:E: Problem executing scripts?|E: Failure running script) .*$", "host-hook-failed"),
        (r"^dpkg: error: error executing hook .*$", "host-hook-failed"),
        (r"^E: Version '.*' for '.*' was not found.*$", "version-not-listed"),
        (r"^E: Unable to locate package .*$", "version-not-listed"),
        (r"^.* : (?:Pre-)?Depends: .*$", "dependencies-missing"),
        (r"^.* : (?:Conflicts|Breaks): .*$", REMOVAL),
        (r"^E: Unable to satisfy dependencies.*$", "dependencies-missing"),
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
_REMOVED = re.compile(
    r"^The following packages will be REMOVED:\n((?:  .*(?:\n|\Z))+)", re.MULTILINE
)
_OURS = re.compile(r"^relight: our source is (\S+)$", re.MULTILINE)
_PROXY = re.compile(r"^relight: the proxy of this host is (?:\w+://)?(\S+?)/?$", re.MULTILINE)
_FETCH_FAILED = re.compile(
    r"^(?:E: Failed to fetch |E: The repository '|W: .*GPG error: ).*$", re.MULTILINE
)
_ERROR_LINE = re.compile(r"(?:E|dpkg|dpkg-deb|apt-get|curl): .*")
# Each tells only that another line has the reason.
_CONSEQUENCE = re.compile(
    r"E: Sub-process .* returned an error code|Errors were encountered while processing:"
    r"|dpkg: error processing (?:package|archive) |E: Some (?:index )?files failed to download"
    r"|E: Unable to fetch some archives| /\S+\.deb$|W: "
)
