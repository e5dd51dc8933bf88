"""apt: the commands that change a package, and what their output means. Nothing here does I/O.

Each command reads our one source and leaves the machine's own alone: with Debian's full index
on a host, that is a quarter of the host's CPU time. An error is never hidden: `apt-get update`
exits with 0 when the repository is down or badly signed, unless it is told otherwise.
"""

import shlex
from collections.abc import Sequence

from remote import dpkg
from remote.apt_output import ONCE_MORE

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
    options = (*_only(source_list), *_BOUNDED, ("APT::Update::Error-Mode", "any"))
    return [*_ENVIRONMENT, "apt-get", "-q", *_options(options), "update"]


def listed(package: str, source_list: str = SOURCES_FILE) -> list[str]:
    """Ask for what `parse_listed` reads: the versions that our source offers."""
    return [*_ENVIRONMENT, "apt-cache", *_options(_only(source_list)), "madison", package]


def install(
    package: str,
    version: str,
    *,
    source_list: str | None = SOURCES_FILE,
    allow_downgrade: bool = False,
    simulate: bool = False,
) -> list[str]:
    """Install exactly this version, asking nothing and keeping edited configuration files.

    Args:
        package: the Debian package.
        version: the exact version of it.
        source_list: our source, relative to /etc/apt; None for all that the machine has.
        allow_downgrade: whether an older version than the installed one may replace it.
        simulate: only say what would be done.
    """
    options = (*_only(source_list), *_BOUNDED, *_KEEP_CONFIGURATION)
    return [
        *_ENVIRONMENT,
        "apt-get",
        "-q",
        "-y",
        "--no-install-recommends",
        *(["--allow-downgrades"] if allow_downgrade else []),
        *(["--simulate"] if simulate else []),
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
    script = transaction_script(
        package, version, source_list=source_list, allow_downgrade=allow_downgrade
    )
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
        "-c",
        script,
    ]


def transaction_script(
    package: str,
    version: str,
    *,
    source_list: str = SOURCES_FILE,
    allow_downgrade: bool = False,
) -> str:
    """Return the shell script that brings a host from any state to this version, as root.

    It ends with apt's own exit code and last words. systemd expands `${NAME}` and `$$` in what it
    starts, so neither stands in it.

    Args:
        package: the Debian package.
        version: the exact version of it.
        source_list: our source, relative to /etc/apt.
        allow_downgrade: whether an older version than the installed one may replace it.
    """
    configure = shlex.join([*_ENVIRONMENT, *dpkg.configure()])
    listing = shlex.join(listed(package, source_list))

    def change(source_list: str | None, *, simulate: bool = False) -> str:
        return shlex.join(
            install(
                package,
                version,
                source_list=source_list,
                allow_downgrade=allow_downgrade,
                simulate=simulate,
            )
        )

    row = shlex.quote(f" {version} | ")
    missing = shlex.quote(f"E: Version '{version}' for '{package}' was not found")
    return f"""\
set -e
# dpkg's own journal is there: it was killed, or the host lost power, under a change. What it
# cannot finish, the version that is now installed may mend.
if ls /var/lib/dpkg/updates/[0-9]* >/dev/null 2>&1; then
  {configure} || true
fi
{shlex.join(refresh(source_list))}
if ! {listing} | grep -qF -- {row}; then
  echo {missing} >&2
  exit 100
fi
{change(source_list)} && exit 0
code=$?
# A dependency that our source does not carry: the machine's own sources may.
case "$({change(source_list, simulate=True)} 2>&1)" in
  *"unmet dependencies"*)
    echo {shlex.quote(ONCE_MORE)}
    exec {change(None)}
    ;;
esac
exit "$code"
"""


def _only(source_list: str | None) -> tuple[tuple[str, str], ...]:
    """Have apt read one source alone, and keep what it knows of the others."""
    if source_list is None:
        return ()
    return (
        ("Dir::Etc::sourcelist", source_list),
        ("Dir::Etc::sourceparts", "-"),
        ("APT::Get::List-Cleanup", "0"),
        ("Dir::Cache::pkgcache", ""),
        ("Dir::Cache::srcpkgcache", ""),
    )


def _options(options: Sequence[tuple[str, str]]) -> list[str]:
    return [part for name, value in options for part in ("-o", f"{name}={value}")]
