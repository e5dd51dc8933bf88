"""Package faults on a real host: the reported fault, the state of the host, the next swap."""

import asyncio

import pytest

from relight.domain.fault.fault import FaultClass
from relight.hosts import host_program
from tests.support.faulty_host import (
    ASKING,
    BULK,
    BULKY,
    GATED,
    NEW,
    OLD,
    FaultyHost,
)

pytestmark = pytest.mark.lab


async def test_a_dpkg_lock_held_for_too_long_is_reported_with_its_holder(
    host: FaultyHost,
) -> None:
    program = str(host_program.PROGRAM)
    short_timeout = f"cp -a {program} /root/original; sed -i s/PATIENCE=60/PATIENCE=1/ {program}"
    with (
        host.changed(short_timeout, f"mv /root/original {program}"),
        host.locked("/var/lib/dpkg/lock-frontend"),
    ):
        fault = await host.apt_fault()
        assert fault.kind == "dpkg-lock-held"
        holder = host.sh("systemctl show --value --property=MainPID holder")
        assert f"It is held by process {holder} (python3)" in fault.summary
        assert host.package() == f"ii {OLD}"
        assert host.sh("systemctl is-active holder") == "active"
        await host.subject.prove(OLD)
    await host.swap()


async def test_a_swap_waits_for_a_dpkg_lock_that_is_released_in_time(host: FaultyHost) -> None:
    with host.locked("/var/lib/dpkg/lock-frontend"):
        swap = asyncio.create_task(host.subject.swap(NEW))
        waiting = "journalctl -q -o cat -u 'relight-*' | grep 'Waiting for cache lock'"
        await asyncio.to_thread(host.until_sh, waiting)
        host.sh("systemctl stop holder")
        await swap
    assert host.package() == f"ii {NEW}"


async def test_a_lock_on_the_package_lists_is_reported_with_its_holder(
    host: FaultyHost,
) -> None:
    program = str(host_program.PROGRAM)
    short_patience = f"cp -a {program} /root/original; sed -i s/PATIENCE=60/PATIENCE=1/ {program}"
    with (
        host.changed(short_patience, f"mv /root/original {program}"),
        host.locked("/var/lib/apt/lists/lock"),
    ):
        fault = await host.apt_fault()
        assert fault.kind == "lists-lock-held"
        assert "(python3)" in fault.summary
        assert host.package() == f"ii {OLD}"
        await host.subject.prove(OLD)
    await host.swap()


async def test_the_next_swap_repairs_a_dpkg_that_was_killed_while_it_unpacked(
    host: FaultyHost,
) -> None:
    pid = host.main_pid()
    host.close_gate(unpacking=True)
    swap = asyncio.create_task(host.apt_fault())
    await host.until_at_gate()
    host.sh("pkill -KILL -x dpkg")
    fault = await swap
    assert fault.kind == "dpkg-interrupted"
    assert not host.package().startswith("ii")
    assert host.main_pid() == pid
    unproven = await host.fault(host.subject.prove(NEW))
    assert unproven.kind in {"package-not-installed", "package-version-differs"}
    host.sh("rm /run/gate*")
    await host.swap()
    assert host.package() == f"ii {NEW}"


async def test_the_next_swap_repairs_a_dpkg_that_was_killed_while_it_configured(
    host: FaultyHost,
) -> None:
    host.close_gate()
    swap = asyncio.create_task(host.apt_fault(GATED))
    await host.until_at_gate()
    host.sh("pkill -KILL -x dpkg")
    fault = await swap
    assert fault.kind == "dpkg-interrupted"
    assert host.package() == f"iF {GATED}"
    unproven = await host.fault(host.subject.prove(GATED))
    assert unproven.kind == "package-not-installed"
    host.sh("rm /run/gate*")
    await host.swap(GATED)
    assert host.package() == f"ii {GATED}"


async def test_the_next_swap_repairs_a_transaction_that_was_killed(
    host: FaultyHost,
) -> None:
    host.close_gate()
    swap = asyncio.create_task(host.fault(host.subject.swap(GATED)))
    await host.until_at_gate()
    host.sh(f"systemctl kill --signal=KILL {host.transaction()}")
    fault = await swap
    assert (fault.kind, fault.exit_code) == ("dpkg-interrupted", -9)
    assert "killed by signal 9" in fault.summary
    assert host.package() == f"iF {GATED}"
    host.sh("rm /run/gate*")
    await host.swap(GATED)
    assert host.package() == f"ii {GATED}"


async def test_a_disk_without_space_for_the_package_is_reported_and_nothing_changes(
    host: FaultyHost,
) -> None:
    archives = "/var/cache/apt/archives"
    with host.changed(f"mount -t tmpfs -o size=64k full {archives}", f"umount {archives}"):
        fault = await host.apt_fault()
        assert fault.kind == "disk-full"
        assert archives in fault.summary
        assert host.package() == f"ii {OLD}"
        await host.subject.prove(OLD)
    await host.swap()


async def test_a_disk_without_space_for_dpkgs_records_is_reported_and_repaired_later(
    host: FaultyHost,
) -> None:
    records = "/var/lib/dpkg"
    small = f"cp -a {records} /run/records; mount -t tmpfs -o size=32m full {records}; "
    fill = f"cp -a /run/records/. {records}; cat /dev/zero >{records}/fill 2>/dev/null || true"
    # What dpkg wrote to the small disk replaces the original records.
    keep = f"rm -rf /run/records; cp -a {records} /run/kept; umount {records}; "
    with host.changed(small + fill, f"{keep} cp -a /run/kept/. {records}; rm -rf /run/kept"):
        fault = await host.apt_fault()
        assert fault.kind == "disk-full"
        host.sh(f"rm {records}/fill")
        await host.swap()
        assert host.package() == f"ii {NEW}"


async def test_a_disk_without_space_for_the_packages_files_is_reported_and_nothing_changes(
    host: FaultyHost,
) -> None:
    pid, folder = host.main_pid(), BULK.rpartition("/")[0]
    change = f"mkdir {folder}; mount -t tmpfs -o size=64k full {folder}"
    with host.changed(change, f"umount {folder}"):
        fault = await host.apt_fault(BULKY)
        assert (fault.kind, fault.fault_class) == ("disk-full", FaultClass.HOST)
        assert f"'{BULK}.dpkg-new': failed to write (No space left on device)" in fault.summary
        assert host.sh(f"ls {folder}") == ""
        await host.assert_unchanged(OLD, pid)
    await host.swap(BULKY)
    assert host.package() == f"ii {BULKY}"
    assert host.sh(f"stat -c %s {BULK}") == str(2**20)


@pytest.mark.parametrize("inodes", [1, 3, 4, 6])
async def test_a_disk_without_inodes_for_the_lists_is_a_fault_of_the_host(
    host: FaultyHost, inodes: int
) -> None:
    """The folder, its subfolders, apt's lock and each file need one inode each."""
    pid, lists = host.main_pid(), "/var/lib/apt/lists"
    change = f"mount -t tmpfs -o nr_inodes={inodes} full {lists}"
    with host.changed(change, f"umount {lists}"):
        fault = await host.apt_fault()
        assert (fault.kind, fault.fault_class) == ("disk-full", FaultClass.HOST)
        assert "No space left on device" in fault.summary
        assert lists in fault.summary
        await host.assert_unchanged(OLD, pid)
    await host.swap()


@pytest.mark.parametrize("inodes", [1, 3])
async def test_a_disk_without_inodes_for_the_package_is_reported_and_nothing_changes(
    host: FaultyHost, inodes: int
) -> None:
    pid, archives = host.main_pid(), "/var/cache/apt/archives"
    change = f"mount -t tmpfs -o nr_inodes={inodes} full {archives}"
    with host.changed(change, f"umount {archives}"):
        fault = await host.apt_fault()
        assert (fault.kind, fault.fault_class) == ("disk-full", FaultClass.HOST)
        assert archives in fault.summary
        await host.assert_unchanged(OLD, pid)
    await host.swap()


async def test_a_disk_without_inodes_for_dpkgs_records_is_reported_and_repaired_later(
    host: FaultyHost,
) -> None:
    pid, records = host.main_pid(), "/var/lib/dpkg"
    small = (
        f"cp -a {records} /run/records; entries=$(find {records} | wc -l); "
        f"mount -t tmpfs -o nr_inodes=$((entries + 9)) full {records}; "
    )
    fill = (
        f"cp -a /run/records/. {records}; mkdir {records}/fill; i=0; "
        f"while (: >{records}/fill/$i) 2>/dev/null; do i=$((i + 1)); done"
    )
    keep = f"rm -rf /run/records; cp -a {records} /run/kept; umount {records}; "
    with host.changed(small + fill, f"{keep} cp -a /run/kept/. {records}; rm -rf /run/kept"):
        fault = await host.apt_fault()
        assert (fault.kind, fault.fault_class) == ("disk-full", FaultClass.HOST)
        assert "unable to create" in fault.summary
        await host.assert_unchanged(OLD, pid)
        host.sh(f"rm -r {records}/fill")
        await host.swap()
        assert host.package() == f"ii {NEW}"


async def test_a_held_package_and_its_hold_are_not_changed(host: FaultyHost) -> None:
    with host.changed("apt-mark hold lantern-box", "apt-mark unhold lantern-box"):
        fault = await host.apt_fault()
        assert fault.kind == "packages-held"
        assert "Held packages were changed" in fault.summary
        assert host.sh("apt-mark showhold") == "lantern-box"
        assert host.package() == f"hi {OLD}"
        await host.subject.prove(OLD)
    await host.swap()


async def test_a_failing_maintainer_script_is_a_release_fault_and_a_rollback_repairs_the_host(
    host: FaultyHost,
) -> None:
    pid = host.main_pid()
    fault = await host.apt_fault("0.0.75")
    assert fault.kind == "maintainer-script-failed"
    assert "cannot migrate the state" in fault.stderr_tail
    assert host.package() == "iF 0.0.75"
    assert host.main_pid() == pid
    await host.swap(OLD)
    assert host.package() == f"ii {OLD}"


async def test_a_debconf_question_is_answered_with_its_default(host: FaultyHost) -> None:
    assert host.sh("grep -rl Pre-Install-Pkgs /etc/apt/apt.conf.d").endswith("/70debconf")
    with host.changed("rm -f /run/answered", "echo PURGE | debconf-communicate lantern-box"):
        await host.swap(ASKING)
        assert host.sh("cat /run/answered") == "calm"
        assert host.package() == f"ii {ASKING}"


async def test_a_replaced_executable_is_not_proven_until_it_is_reinstalled(
    host: FaultyHost,
) -> None:
    program = "/usr/bin/lantern-box"
    host.sh(f"cp {program} /run/other; echo >>/run/other; mv /run/other {program}")
    host.sh("systemctl restart lantern-box")
    fault = await host.fault(host.subject.prove(OLD))
    assert fault.kind == "package-damaged"
    assert program in fault.summary
    assert host.package() == f"ii {OLD}"
    await host.swap(OLD)
    assert host.sh("dpkg --verify lantern-box") == ""
