"""What an installation would do on a host. Nothing is installed."""

from datetime import timedelta

from relight.domain.install_plan import InstallPlan, size
from relight.hosts import host_program
from relight.hosts.apt import Diagnosis, diagnose
from relight.hosts.apt_plan import parse_plan
from relight.hosts.errors import PackageError
from relight.hosts.host_program import Change
from relight.hosts.shell import Shell

TIMEOUT = timedelta(minutes=2)
"""apt gives up a repository that does not answer long before."""


async def dry_run(shell: Shell, change: Change, package: str) -> InstallPlan:
    """Return what apt would do on a host to install a release. Nothing is installed.

    Raises:
        PackageError: apt would not install it, or the disk is too small; with the reason.
        RemoteError: the host did not answer.
    """
    argv = host_program.dry_run(change)
    completed = await shell.run(argv, timeout=TIMEOUT, check=False, sudo=True)
    output = f"{completed.stdout}\n{completed.stderr}"
    if completed.exit_code == 0:
        plan = parse_plan(completed.stdout)
        needed = plan.download_bytes + max(plan.disk_bytes, 0)
        if plan.free_bytes is None or plan.free_bytes >= needed:
            return plan
        diagnosis = Diagnosis(
            "disk-full", f"it needs {size(needed)}, and /usr has {size(plan.free_bytes)} free"
        )
    else:
        diagnosis = diagnose(output, package)
    raise PackageError(
        diagnosis.kind,
        diagnosis.text,
        destination=shell.destination,
        attempted=f"dry run of {package} {change.version}",
        argv=completed.argv,
        exit_code=completed.exit_code,
        stderr=output,
    )
