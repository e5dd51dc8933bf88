"""apt on real hosts: locked packages, removals, foreign hooks, what hangs, settings and content."""

import asyncio
import hashlib
from pathlib import Path, PurePosixPath

import pytest

from devkit.simulated.parts import HOST_KEY_SECRET
from relight.domain.fault.fault import FaultClass
from relight.hosts import host_program, observation, transaction
from relight.hosts.cloud_init.user_data import File
from relight.hosts.dry_run import dry_run
from relight.hosts.host_program import Change
from relight.hosts.host_settings import HostSettings
from relight.hosts.keys import derive_host_key
from relight.hosts.observation import Observation
from tests.support.faulty_host import GATED, NEW, OLD, FaultyHost

pytestmark = pytest.mark.lab

LOCKED, GUARDED = ("0.1.1", "0.1.2"), "0.1.3"
SETTINGS_FILE = str(host_program.CONFIGURATION)


def publish(host: FaultyHost, tmp_path: Path) -> None:
    """Add releases with a locked sibling, and one that conflicts with a firewall."""
    repository = host.good.copy(tmp_path / "repository")
    for version in LOCKED:
        host.repack(repository, version, {"Depends": f"lantern-tools (= {version})"})
        fields = {"Source": "lantern-box"}
        repository.add(version, repository.architectures[0], "lantern-tools", fields=fields)
    host.repack(repository, GUARDED, {"Conflicts": "firewall"})
    repository.add("1.0", repository.architectures[0], "firewall")
    repository.publish(host.sign)
    host.served.root = repository.root


async def test_locked_packages_move_together_and_nothing_is_removed(
    host: FaultyHost, tmp_path: Path
) -> None:
    publish(host, tmp_path)
    tools = "dpkg-query -Wf '${Version}' lantern-tools"
    first, second = LOCKED
    for version in (first, second, first):
        await host.swap(version)
        assert (host.package(), host.sh(tools)) == (f"ii {version}", version)
    host.sh("apt-get -qy install firewall")
    pid = host.main_pid()
    fault = await host.apt_fault(GUARDED)
    assert (fault.kind, fault.fault_class) == ("removal-refused", FaultClass.RELEASE)
    assert "it would remove firewall" in fault.summary
    assert host.main_pid() == pid
    assert "installed" in host.sh("dpkg-query -Wf '${db:Status-Status}' firewall")
    async with host.subject.hosts.connect(host.subject.machine) as shell:
        plan = await dry_run(shell, Change(NEW, rollback=True), "lantern-box")
    assert plan.downgraded == (f"lantern-box {first} -> {NEW}",)
    assert plan.download_bytes > 0


async def test_a_hook_that_fails_after_the_change_is_told_and_the_new_release_runs(
    host: FaultyHost,
) -> None:
    hook = "/etc/apt/apt.conf.d/90report"
    text = 'DPkg::Post-Invoke {"echo cannot report >&2; exit 3";};'
    with host.changed(f"printf %s '{text}' >{hook}", f"rm {hook}"):
        fault = await host.apt_fault()
        assert (fault.kind, fault.fault_class) == ("host-hook-failed", FaultClass.HOST)
        assert host.package() == f"ii {NEW}"
        await host.subject.prove(NEW)


async def test_a_running_change_tells_its_child_and_stopping_it_repairs_dpkg(
    host: FaultyHost,
) -> None:
    run = host.subject.new_run()
    host.close_gate()
    swap = asyncio.create_task(host.subject.swap(GATED, run=run))
    await host.until_at_gate()
    async with host.subject.hosts.connect(host.subject.machine) as shell:
        seen = await observation.observe(shell, host_program.observe(host.transaction()))
    assert "/var/lib/dpkg/info/lantern-box.postinst configure" in seen.child
    swap.cancel()
    with pytest.raises(asyncio.CancelledError):
        await swap
    # Its script ends by itself now, so nothing is left to repair.
    host.sh("rm /run/gate*")
    await host.subject.stop_swap(GATED, run)
    assert host.transaction() == ""
    assert host.package() == f"ii {GATED}"
    await host.swap(OLD)


def sha256_of(host: FaultyHost, version: str) -> str:
    return hashlib.sha256((host.good.root / host.deb(version)).read_bytes()).hexdigest()


async def test_a_change_writes_the_settings_that_differ_and_records_what_it_installed(
    host: FaultyHost,
) -> None:
    configuration = host.sh(f"cat {SETTINGS_FILE}") + "\n"
    source = host.sh(f"cat /etc/apt/{host_program.SOURCES_FILE}") + "\n"
    key = host.sh("cat /etc/apt/keyrings/relight.*") + "\n"
    path = PurePosixPath("/etc/apt", host_program.SOURCES_FILE)
    files = (
        File(host_program.PROGRAM, "0755", host_program.text()),
        File(host_program.CONFIGURATION, "0644", configuration.encode()),
        File(PurePosixPath(host.sh("ls /etc/apt/keyrings/relight.*")), "0644", key.encode()),
        File(path, "0644", f"# new\n{source}".encode()),
    )
    settings = HostSettings(files)
    present = [derive_host_key(HOST_KEY_SECRET, host.subject.machine.key)]

    async def change(version: str) -> Observation:
        async with host.subject.hosts.connect(host.subject.machine) as shell:
            unit = transaction.unit_name(f"settings {version}")
            ended = await transaction.run_transaction(
                shell,
                unit,
                Change(version),
                host.subject.service,
                lambda _: None,
                settings,
                present,
            )
            await transaction.forget(shell, unit)
            return ended.observation

    seen = await change(NEW)
    assert seen.settings_sha256 == settings.sha256(present[0])
    assert host.sh(f"head -n 1 /etc/apt/{host_program.SOURCES_FILE}") == "# new"
    assert seen.sha256 == sha256_of(host, NEW)
    assert (await host.subject.prove(NEW)).sha256 == seen.sha256
