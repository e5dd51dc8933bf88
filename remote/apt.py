"""apt: the commands that change a package, and what their output means. Nothing here does I/O.

Each command reads our one source and leaves the machine's own alone: with Debian's full index
on a host, that is a quarter of the host's CPU time. An error is never hidden: `apt-get update`
exits with 0 when the repository is down or badly signed, unless it is told otherwise.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from remote import dpkg

SOURCES_FILE = "sources.list.d/relight.sources"
"""Our source, relative to /etc/apt: what every command here reads, and nothing else."""

LOCK_PATIENCE_SECONDS = 60
"""How long apt waits for another apt or dpkg to end: unattended upgrades take such times."""

_ENVIRONMENT = (
    "env",
    "LC_ALL=C.UTF-8",  # the classifier below reads English
    "DEBIAN_FRONTEND=noninteractive",
    "NEEDRESTART_MODE=l",  # list what wants a restart: never restart, never ask
)
_ONLY_OURS = (
    ("Dir::Etc::sourceparts", "-"),
    ("APT::Get::List-Cleanup", "0"),
    ("Dir::Cache::pkgcache", ""),
    ("Dir::Cache::srcpkgcache", ""),
)
_BOUNDED = (
    ("Acquire::http::Timeout", "5"),
    ("Acquire::https::Timeout", "5"),
    ("Acquire::Retries", "0"),
    ("DPkg::Lock::Timeout", str(LOCK_PATIENCE_SECONDS)),
)
_KEEP_CONFIGURATION = (
    ("DPkg::Options::", "--force-confdef"),
    ("DPkg::Options::", "--force-confold"),
)


def refresh(source_list: str = SOURCES_FILE) -> list[str]:
    """Fetch our source's index; any trouble with it is an error."""
    options = (*_sources(source_list), *_BOUNDED, ("APT::Update::Error-Mode", "any"))
    return [*_ENVIRONMENT, "apt-get", "-q", *_options(options), "update"]


def listed(package: str, source_list: str = SOURCES_FILE) -> list[str]:
    """Ask for what `parse_listed` reads: the versions that our source offers."""
    return [*_ENVIRONMENT, "apt-cache", *_options(_sources(source_list)), "madison", package]


def install(
    package: str,
    version: str,
    *,
    source_list: str = SOURCES_FILE,
    allow_downgrade: bool = False,
) -> list[str]:
    """Install exactly this version, asking nothing and keeping edited configuration files."""
    options = (*_sources(source_list), *_BOUNDED, *_KEEP_CONFIGURATION)
    downgrade = ["--allow-downgrades"] if allow_downgrade else []
    return [
        *_ENVIRONMENT,
        "apt-get",
        "-q",
        "-y",
        "--no-install-recommends",
        *downgrade,
        *_options(options),
        "install",
        f"{package}={version}",
    ]


def install_transaction(
    unit: str,
    package: str,
    version: str,
    *,
    source_list: str = SOURCES_FILE,
    allow_downgrade: bool = False,
) -> list[str]:
    """Start, detached from us, what brings a host from any state to this version.

    The unit outlives the connection, a killed worker and a dead sshd, and keeps its outcome until
    it is cleared. Its output goes to the journal: with `--pipe` or `--scope` dpkg would die of
    a broken pipe together with the link.

    Args:
        unit: the transient unit's name, the same for every attempt at the same operation.
        package: the Debian package.
        version: the exact version of it.
        source_list: our source, relative to /etc/apt.
        allow_downgrade: whether an older version than the installed one may replace it.
    """
    script = _transaction_script(package, version, source_list, allow_downgrade=allow_downgrade)
    return [
        "systemd-run",
        f"--unit={unit}",
        f"--description=relight: install {package}={version}",
        "--quiet",
        "--no-ask-password",
        "--property=Type=exec",
        "--property=RemainAfterExit=yes",
        "--property=StandardOutput=journal",
        "--property=StandardError=journal",
        "/bin/sh",
        "-ec",
        script,
    ]


def _transaction_script(
    package: str, version: str, source_list: str, *, allow_downgrade: bool
) -> str:
    fetch, listing = shlex.join(refresh(source_list)), shlex.join(listed(package, source_list))
    change = install(
        package, version, source_list=source_list, allow_downgrade=allow_downgrade
    )
    missing = f"E: Version '{version}' for '{package}' was not found"
    everywhere = _everywhere(change)
    return "\n".join(
        [
            # dpkg's own journal is there: it was killed, or the host lost power, under a change.
            # What it cannot finish, the version that is now installed may mend.
            "if ls /var/lib/dpkg/updates/[0-9]* >/dev/null 2>&1; then",
            f"  {shlex.join([*_ENVIRONMENT, *dpkg.configure()])} || true",
            "fi",
            fetch,
            f"if ! {listing} | grep -qF -- {shlex.quote(f' {version} | ')}; then",
            f"  echo {shlex.quote(missing)} >&2; exit 100",
            "fi",
            f"{shlex.join(change)} && exit 0",
            "code=$?",
            # A dependency that our source does not carry: the machine's own sources may.
            f'case "$({shlex.join(_simulated(change))} 2>&1)" in',
            f'  *"not installable"*) exec {shlex.join(everywhere)} ;;',
            "esac",
            'exit "$code"',
        ]
    )


def _everywhere(change: Sequence[str]) -> list[str]:
    """Return the same installation with all of the machine's sources."""
    ours = set(_options([(name, value) for name, value in _ONLY_OURS])) - {"-o"}
    kept: list[str] = []
    for argument in change:
        if argument in ours or argument.startswith("Dir::Etc::sourcelist="):
            kept.pop()  # the -o before it
        else:
            kept.append(argument)
    return kept


def _simulated(change: Sequence[str]) -> list[str]:
    at = list(change).index("install")
    return [*change[:at], "--simulate", *change[at:]]


def _sources(source_list: str) -> tuple[tuple[str, str], ...]:
    return (("Dir::Etc::sourcelist", source_list), *_ONLY_OURS)


def _options(options: Sequence[tuple[str, str]]) -> list[str]:
    return [part for name, value in options for part in ("-o", f"{name}={value}")]
