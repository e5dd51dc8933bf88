"""What befalls a real machine's packages, what is said of it, and what is true there then."""

import asyncio
import uuid
from collections.abc import AsyncIterator

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
    faulty_host,
)
from tests.support.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
async def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultyHost]:
    folder = tmp_path_factory.mktemp("packages")
    async with faulty_host(lab, f"packages-{uuid.uuid4().hex[:6]}-g1", folder) as made:
        yield made


@pytest.fixture
async def host(machine: FaultyHost) -> FaultyHost:
    await machine.settle(OLD)
    return machine


async def test_a_lock_that_another_process_holds_for_long_is_reported_with_its_holder(
    host: FaultyHost,
) -> None:
    program = str(host_program.PROGRAM)
    impatient = (
        f"cp -a {program} /root/patient; sed -i s/Lock::Timeout=60/Lock::Timeout=1/ {program}"
    )
    with (
        host.changed(impatient, f"mv /root/patient {program}"),
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


async def test_a_lock_that_is_let_go_in_time_is_waited_for(host: FaultyHost) -> None:
    with host.locked("/var/lib/dpkg/lock-frontend"):
        swap = asyncio.create_task(host.subject.swap(NEW))
        waiting = "journalctl -q -o cat -u 'relight-*' | grep 'Waiting for cache lock'"
        await asyncio.to_thread(host.until_sh, waiting)
        host.sh("systemctl stop holder")
        await swap
    assert host.package() == f"ii {NEW}"


async def test_lists_that_another_apt_refreshes_are_reported_with_its_process(
    host: FaultyHost,
) -> None:
    with host.locked("/var/lib/apt/lists/lock"):
        fault = await host.apt_fault()
        assert fault.kind == "lists-lock-held"
        assert "(python3)" in fault.summary
        assert host.package() == f"ii {OLD}"
        await host.subject.prove(OLD)
    await host.swap()


async def test_a_dpkg_that_is_killed_while_it_unpacks_is_mended_by_the_next_attempt(
    host: FaultyHost,
) -> None:
    pid = host.main_pid()
    host.shut_gate(unpacking=True)
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


async def test_a_dpkg_that_is_killed_while_it_configures_is_mended_by_the_next_attempt(
    host: FaultyHost,
) -> None:
    host.shut_gate()
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


async def test_a_transaction_that_is_killed_as_a_whole_is_mended_by_the_next_attempt(
    host: FaultyHost,
) -> None:
    host.shut_gate()
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


async def test_a_disk_without_room_for_the_package_is_reported_and_nothing_is_changed(
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


async def test_a_disk_without_room_for_dpkgs_own_records_is_reported_and_then_mended(
    host: FaultyHost,
) -> None:
    records = "/var/lib/dpkg"
    small = f"cp -a {records} /run/records; mount -t tmpfs -o size=32m full {records}; "
    fill = f"cp -a /run/records/. {records}; cat /dev/zero >{records}/fill 2>/dev/null || true"
    # What dpkg wrote meanwhile goes below the small disk before that goes.
    keep = f"rm -rf /run/records; cp -a {records} /run/kept; umount {records}; "
    with host.changed(small + fill, f"{keep} cp -a /run/kept/. {records}; rm -rf /run/kept"):
        fault = await host.apt_fault()
        assert fault.kind == "disk-full"
        host.sh(f"rm {records}/fill")
        await host.swap()
        assert host.package() == f"ii {NEW}"


async def test_a_disk_without_room_for_the_packages_files_is_reported_and_the_old_ones_stay(
    host: FaultyHost,
) -> None:
    pid, place = host.main_pid(), BULK.rpartition("/")[0]
    bring = f"mkdir {place}; mount -t tmpfs -o size=64k full {place}"
    with host.changed(bring, f"umount {place}"):
        fault = await host.apt_fault(BULKY)
        assert (fault.kind, fault.fault_class) == ("disk-full", FaultClass.HOST)
        assert f"'{BULK}.dpkg-new': failed to write (No space left on device)" in fault.summary
        assert host.sh(f"ls {place}") == ""
        await host.stays(OLD, pid)
    await host.swap(BULKY)
    assert host.package() == f"ii {BULKY}"
    assert host.sh(f"stat -c %s {BULK}") == str(2**20)


@pytest.mark.parametrize("inodes", [1, 3, 4, 6])
async def test_a_disk_without_an_inode_for_the_lists_is_not_the_repositorys_fault(
    host: FaultyHost, inodes: int
) -> None:
    """The folder itself, its own folders and apt's lock take one each, and then each file."""
    pid, lists = host.main_pid(), "/var/lib/apt/lists"
    bring = f"mount -t tmpfs -o nr_inodes={inodes} full {lists}"
    with host.changed(bring, f"umount {lists}"):
        fault = await host.apt_fault()
        assert (fault.kind, fault.fault_class) == ("disk-full", FaultClass.HOST)
        assert "No space left on device" in fault.summary
        assert lists in fault.summary
        await host.stays(OLD, pid)
    await host.swap()


@pytest.mark.parametrize("inodes", [1, 3])
async def test_a_disk_without_an_inode_for_the_package_is_reported_and_nothing_is_changed(
    host: FaultyHost, inodes: int
) -> None:
    pid, archives = host.main_pid(), "/var/cache/apt/archives"
    bring = f"mount -t tmpfs -o nr_inodes={inodes} full {archives}"
    with host.changed(bring, f"umount {archives}"):
        fault = await host.apt_fault()
        assert (fault.kind, fault.fault_class) == ("disk-full", FaultClass.HOST)
        assert archives in fault.summary
        await host.stays(OLD, pid)
    await host.swap()


async def test_a_disk_without_an_inode_for_dpkgs_own_records_is_reported_and_then_mended(
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
        await host.stays(OLD, pid)
        host.sh(f"rm -r {records}/fill")
        await host.swap()
        assert host.package() == f"ii {NEW}"


async def test_a_held_package_is_left_alone_and_so_is_the_hold(host: FaultyHost) -> None:
    with host.changed("apt-mark hold lantern-box", "apt-mark unhold lantern-box"):
        fault = await host.apt_fault()
        assert fault.kind == "packages-held"
        assert "Held packages were changed" in fault.summary
        assert host.sh("apt-mark showhold") == "lantern-box"
        assert host.package() == f"hi {OLD}"
        await host.subject.prove(OLD)
    await host.swap()


async def test_a_failing_maintainer_script_is_the_releases_and_a_rollback_mends_the_host(
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


async def test_what_a_package_asks_is_answered_by_its_default(host: FaultyHost) -> None:
    assert host.sh("grep -rl Pre-Install-Pkgs /etc/apt/apt.conf.d").endswith("/70debconf")
    with host.changed("rm -f /run/answered", "echo PURGE | debconf-communicate lantern-box"):
        await host.swap(ASKING)
        assert host.sh("cat /run/answered") == "calm"
        assert host.package() == f"ii {ASKING}"


async def test_a_program_that_was_replaced_in_place_is_no_proof_until_it_is_put_back(
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
