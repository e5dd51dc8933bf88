"""apt: the commands that change a package, and what their output means. Nothing here does I/O.

Each command reads our one source and leaves the machine's own alone: with Debian's full index
on a host, that is a quarter of the host's CPU time. An error is never hidden: `apt-get update`
exits with 0 when the repository is down or badly signed, unless it is told otherwise.
"""

import shlex
from collections.abc import Sequence

from remote import dpkg
from remote.apt_output import ONCE_MORE
from remote.deb_file import DebFile

SOURCES_FILE = "sources.list.d/relight.sources"
"""Our source, relative to /etc/apt: what every command here reads, and nothing else."""

NO_SOURCE = "/dev/null"
"""In its place where the package comes as a file: apt reads no source at all."""

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
    reinstall: bool = False,
    simulate: bool = False,
    file: str | None = None,
) -> list[str]:
    """Install exactly this version, asking nothing and keeping edited configuration files.

    Args:
        package: the Debian package.
        version: the exact version of it.
        source_list: our source, relative to /etc/apt; None for all that the machine has.
        allow_downgrade: whether an older version than the installed one may replace it.
        reinstall: unpack it again where it is this version already.
        simulate: only say what would be done.
        file: the .deb that holds it, as `./NAME.deb`; None where a source does.
    """
    options = (*_only(source_list), *_BOUNDED, *_KEEP_CONFIGURATION)
    return [
        *_ENVIRONMENT,
        "apt-get",
        "-q",
        "-y",
        "--no-install-recommends",
        *(["--allow-downgrades"] if allow_downgrade else []),
        *(["--reinstall"] if reinstall else []),
        *(["--simulate"] if simulate else []),
        *_options(options),
        "install",
        file or f"{package}={version}",
    ]


def install_transaction(
    unit: str,
    package: str,
    version: str,
    *,
    source_list: str = SOURCES_FILE,
    allow_downgrade: bool = False,
    deb: DebFile | None = None,
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
        deb: the file that the host fetches in place of asking our source; None for the source.
    """
    script = transaction_script(
        package, version, source_list=source_list, allow_downgrade=allow_downgrade, deb=deb
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
    deb: DebFile | None = None,
) -> str:
    """Return the shell script that brings a host from any state to this version, as root.

    It ends with apt's own exit code and last words. systemd expands `${NAME}` and `$$` in what it
    starts, so neither stands in it.

    Args:
        package: the Debian package.
        version: the exact version of it.
        source_list: our source, relative to /etc/apt.
        allow_downgrade: whether an older version than the installed one may replace it.
        deb: the file that the host fetches in place of asking our source; None for the source.
    """
    configure = shlex.join([*_ENVIRONMENT, *dpkg.configure()])
    if deb is None:
        only, fetch = source_list, _listed_or_exit(package, version, source_list)
    else:
        only, fetch = NO_SOURCE, deb.fetched_or_exit(package, version)

    def change(source_list: str | None, *, reinstall: bool = False, simulate: bool = False) -> str:
        return shlex.join(
            install(
                package,
                version,
                source_list=source_list,
                allow_downgrade=allow_downgrade,
                reinstall=reinstall,
                simulate=simulate,
                file=deb.file(package, version) if deb else None,
            )
        )

    present = shlex.join(["dpkg-query", "--show", "--", package])
    return f"""\
set -e
# dpkg's own journal is there: it was killed, or the host lost power, under a change. What it
# cannot finish, the version that is now installed may mend.
if ls /var/lib/dpkg/updates/[0-9]* >/dev/null 2>&1; then
  {configure} || true
fi
{fetch}\
# apt leaves alone what is at this version already, and dpkg tells whether its files are, too. An
# edited configuration file is no damage.
if {present} 2>/dev/null | cut -f2 | grep -qxF -- {shlex.quote(version)} &&
  {shlex.join(dpkg.verify(package))} 2>/dev/null | grep -qv '^[^/]* c /'; then
  {change(only, reinstall=True)} && exit 0
fi
{change(only)} && exit 0
code=$?
# A dependency that our source does not carry: the machine's own sources may.
case "$({change(only, simulate=True)} 2>&1)" in
  *"unmet dependencies"*)
    echo {shlex.quote(ONCE_MORE)}
    {change(None)}
    exit 0
    ;;
esac
exit "$code"
"""


def _listed_or_exit(package: str, version: str, source_list: str) -> str:
    """Return what refreshes our source, and ends the script where it lacks the version."""
    row = shlex.quote(f" {version} | ")
    missing = shlex.quote(f"E: Version '{version}' for '{package}' was not found")
    return f"""\
{shlex.join(refresh(source_list))}
if ! {shlex.join(listed(package, source_list))} | grep -qF -- {row}; then
  echo {missing} >&2
  exit 100
fi
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
