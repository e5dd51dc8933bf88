"""Faults of a real host's service, sudo and identity: the report, the state, the next swap."""

import asyncio

import pytest

from relight.domain.fault.fault import FaultClass
from relight.hosts import host_program
from relight.hosts.shell import SUDO
from tests.support.faulty_host import (
    NEW,
    OLD,
    UNIT,
    FaultyHost,
)

pytestmark = pytest.mark.lab

SSH_FOLDER = "/home/relight/.ssh"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"


async def assert_untouched(host: FaultyHost, log: list[str], pid: str) -> None:
    """Check that neither the package nor the process has changed."""
    assert host.dpkg_log() == log
    assert host.main_pid() == pid
    assert host.transaction() == ""
    await host.subject.prove(OLD)


# ---------------------------------------------------------------- the service


async def test_a_masked_unit_and_its_mask_are_not_changed(host: FaultyHost) -> None:
    pid = host.main_pid()
    with host.changed(f"systemctl mask {UNIT}", f"systemctl unmask {UNIT}"):
        for call in (host.subject.swap(NEW), host.subject.prove(NEW)):
            fault = await host.fault(call)
            assert (fault.kind, fault.fault_class) == ("unit-masked", FaultClass.HOST)
        assert host.sh(f"systemctl is-enabled {UNIT} || true") == "masked"
        assert host.package() == f"ii {NEW}"
        assert host.main_pid() == pid
        assert host.sh(f"readlink /proc/{pid}/exe").endswith("(deleted)")
    await host.swap()


async def test_a_disabled_unit_is_reported_and_a_swap_enables_it_again(host: FaultyHost) -> None:
    host.sh(f"systemctl --quiet disable {UNIT}")
    fault = await host.fault(host.subject.prove(OLD))
    assert (fault.kind, fault.fault_class) == ("unit-disabled", FaultClass.HOST)
    assert host.sh(f"systemctl is-active {UNIT}") == "active"
    await host.swap()
    assert host.sh(f"systemctl is-enabled {UNIT}") == "enabled"


async def test_a_stopped_unit_is_not_proven(host: FaultyHost) -> None:
    host.sh(f"systemctl stop {UNIT}")
    fault = await host.fault(host.subject.prove(OLD))
    assert fault.kind == "unit-not-active"
    assert any("Stopped" in line for line in fault.journal_tail)
    await host.swap()


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("Unit", "ConditionPathExists=/etc/absent"),
        ("Unit", "AssertPathExists=!/etc"),
        ("Service", "ExecCondition=/bin/sh -c 'exit 3'"),
    ],
)
async def test_a_unit_whose_condition_is_not_met_is_reported_with_it(
    host: FaultyHost, section: str, line: str
) -> None:
    folder = f"/run/systemd/system/{UNIT}.d"
    drop_in = f"[{section}]\\n{line}\\n".replace("'", "'\\''")
    change = (
        f"mkdir -p {folder}; printf '{drop_in}' >{folder}/condition.conf; systemctl daemon-reload; "
        f"systemctl restart {UNIT} || true"
    )
    with host.changed(change, f"rm -r {folder}; systemctl daemon-reload"):
        for call in (host.subject.prove(OLD), host.subject.swap(NEW)):
            fault = await host.fault(call)
            assert (fault.kind, fault.fault_class) == ("unit-condition-unmet", FaultClass.RELEASE)
            assert f"{UNIT} was not started: a condition of its unit is not met" in fault.summary
            assert fault.summary.endswith(f": {line}")
    await host.swap(OLD)


async def test_a_unit_that_cannot_start_is_reported_with_its_journal(host: FaultyHost) -> None:
    # dpkg gives the executable this mode instead of the package's.
    program = "/usr/bin/lantern-box"
    change = f"dpkg-statoverride --update --add root root 644 {program}"
    undo = f"dpkg-statoverride --remove {program}; chmod 755 {program}"
    with host.changed(change, undo):
        fault = await host.fault(host.subject.swap(NEW))
        assert fault.kind in {"unit-failed", "unit-crash-looping"}
        # systemd's own line: of the child's `Permission denied` journald may not know the unit.
        assert any("status=203/EXEC" in line for line in fault.journal_tail)
        assert host.package() == f"ii {NEW}"
    await host.swap()


async def test_a_crash_loop_is_a_release_fault_and_a_rollback_ends_it(host: FaultyHost) -> None:
    fault = await host.fault(host.subject.swap("0.0.76"))
    assert (fault.kind, fault.fault_class) == ("unit-crash-looping", FaultClass.RELEASE)
    assert any("panic: runtime error" in line for line in fault.journal_tail)
    assert host.package() == "ii 0.0.76"
    assert (await host.swap(OLD)).proof.version == OLD


async def test_a_good_release_starts_after_a_bad_one_reached_the_start_limit(
    host: FaultyHost,
) -> None:
    limits = "[Service]\\nRestartSec=0\\n[Unit]\\nStartLimitIntervalSec=60\\nStartLimitBurst=3\\n"
    folder = f"/run/systemd/system/{UNIT}.d"
    change = f"mkdir -p {folder}; printf '{limits}' >{folder}/limits.conf"
    with host.changed(change, f"rm -r {folder}; systemctl daemon-reload"):
        await host.fault(host.subject.swap("0.0.76"))
        limited = f"journalctl -q -o cat -u {UNIT} | grep -q 'repeated too quickly'"
        await asyncio.to_thread(host.until_sh, limited)
        fault = await host.fault(host.subject.prove("0.0.76"))
        assert (fault.kind, fault.fault_class) == ("unit-failed", FaultClass.RELEASE)
        await host.swap(OLD)
        assert host.package() == f"ii {OLD}"


async def test_a_failing_probe_is_a_release_fault_and_a_rollback_repairs_the_host(
    host: FaultyHost,
) -> None:
    fault = await host.fault(host.subject.swap("0.0.77"))
    assert (fault.kind, fault.fault_class) == ("probe-failed", FaultClass.RELEASE)
    assert "503" in fault.summary
    assert host.package() == "ii 0.0.77"
    assert host.sh(f"systemctl is-active {UNIT}") == "active"
    await host.swap(OLD)


async def test_a_probe_that_a_firewall_rejects_is_reported(host: FaultyHost) -> None:
    chain = "chain in { type filter hook input priority 0; "
    rule = f"nft 'table inet probe {{ {chain} tcp dport 8899 reject with tcp reset; }}; }}'"
    with host.changed(rule, "nft delete table inet probe"):
        fault = await host.fault(host.subject.prove(OLD))
        assert fault.kind == "probe-failed"
        assert "connection refused" in fault.summary
        assert host.package() == f"ii {OLD}"
    await host.swap()


async def test_a_process_of_another_executable_is_not_proven(
    host: FaultyHost,
) -> None:
    drop_in = f"/run/systemd/system/{UNIT}.d"
    command = "/usr/local/bin/copy --config /etc/lantern-box/config.json"
    start = f"[Service]\\nExecStart=\\nExecStart={command}\\n"
    change = (
        "cp /usr/bin/lantern-box /usr/local/bin/copy; "
        f"mkdir -p {drop_in}; printf '{start}' >{drop_in}/copy.conf; "
        f"systemctl daemon-reload; systemctl restart {UNIT}"
    )
    with host.changed(change, f"rm -r {drop_in} /usr/local/bin/copy; systemctl daemon-reload"):
        fault = await host.fault(host.subject.prove(OLD))
        assert fault.kind == "stale-process"
        assert "runs /usr/local/bin/copy" in fault.summary
        assert host.package() == f"ii {OLD}"
    await host.swap()


# ---------------------------------------------------------------- sudo, login, identity


async def test_a_sudo_that_asks_for_a_password_is_reported_as_such(host: FaultyHost) -> None:
    pid, log = host.main_pid(), host.dpkg_log()
    rules = "/etc/sudoers.d/90-cloud-init-users"
    with host.changed(f"mv {rules} /root/rules", f"mv /root/rules {rules}"):
        for call in (host.subject.swap(NEW), host.subject.prove(OLD)):
            fault = await host.fault(call)
            assert (fault.kind, fault.fault_class) == ("sudo-refused", FaultClass.HOST)
            assert "a password is required" in fault.summary
            assert (fault.argv[: len(SUDO)], fault.exit_code) == (SUDO, 1)
            assert "a password is required" in fault.stderr_tail
    await assert_untouched(host, log, pid)
    await host.swap()


async def test_a_sudo_rule_without_our_program_is_reported(host: FaultyHost) -> None:
    pid, log = host.main_pid(), host.dpkg_log()
    rules = "/etc/sudoers.d/90-cloud-init-users"
    narrow = f"mv {rules} /root/rules; echo 'relight ALL=(ALL) NOPASSWD: /bin/true' >{rules}"
    with host.changed(narrow, f"mv /root/rules {rules}"):
        fault = await host.fault(host.subject.swap(NEW))
        assert fault.kind == "sudo-refused"
    await assert_untouched(host, log, pid)
    await host.swap()


@pytest.mark.parametrize(
    ("change", "undo", "words"),
    [
        ("mv /usr/bin/sudo /root", "mv /root/sudo /usr/bin", "No such file or directory"),
        ("chmod 644 /usr/bin/sudo", "chmod 4755 /usr/bin/sudo", "Permission denied"),
        ("chmod 755 /usr/bin/sudo", "chmod 4755 /usr/bin/sudo", "have the setuid bit set"),
        (
            "echo Defaults requiretty >/etc/sudoers.d/zz-tty",
            "rm /etc/sudoers.d/zz-tty",
            "you must have a tty",
        ),
    ],
    ids=["gone", "not executable", "not setuid", "requires a tty"],
)
async def test_a_missing_or_broken_sudo_is_reported(
    host: FaultyHost, change: str, undo: str, words: str
) -> None:
    pid, log = host.main_pid(), host.dpkg_log()
    with host.changed(change, undo):
        for call in (host.subject.swap(NEW), host.subject.prove(OLD)):
            fault = await host.fault(call)
            assert (fault.kind, fault.fault_class) == ("sudo-refused", FaultClass.HOST)
            assert words in fault.summary
    await assert_untouched(host, log, pid)
    await host.swap()


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (
            f"mv {host_program.PROGRAM} /root",
            f"mv /root/{host_program.PROGRAM.name} {host_program.PROGRAM}",
        ),
        (f"chmod 644 {host_program.PROGRAM}", f"chmod 755 {host_program.PROGRAM}"),
    ],
    ids=["gone", "not executable"],
)
async def test_a_missing_host_program_is_reported(host: FaultyHost, change: str, undo: str) -> None:
    pid, log = host.main_pid(), host.dpkg_log()
    with host.changed(change, undo):
        for call in (host.subject.swap(NEW), host.subject.prove(OLD)):
            fault = await host.fault(call)
            assert (fault.kind, fault.fault_class) == ("host-program-missing", FaultClass.HOST)
            assert f"sudo: {host_program.PROGRAM}: command not found" in fault.summary
    await assert_untouched(host, log, pid)
    await host.swap()


async def test_a_refused_login_is_reported(host: FaultyHost) -> None:
    pid, log = host.main_pid(), host.dpkg_log()
    keys = f"{SSH_FOLDER}/authorized_keys"
    with host.changed(f"cp -a {keys} /root/keys; >{keys}", f"mv /root/keys {keys}"):
        fault = await host.fault(host.subject.swap(NEW))
        assert (fault.kind, fault.attempted) == ("login-refused", "connect")
    await assert_untouched(host, log, pid)
    await host.swap()


async def test_a_user_without_a_shell_is_reported_as_a_refused_login(host: FaultyHost) -> None:
    with host.changed("usermod -s /usr/sbin/nologin relight", "usermod -s /bin/sh relight"):
        fault = await host.fault(host.subject.swap(NEW))
        assert (fault.kind, fault.fault_class) == ("login-refused", FaultClass.HOST)
    await host.swap()


async def test_a_changed_host_key_is_reported_and_no_login_is_tried(host: FaultyHost) -> None:
    pid, log = host.main_pid(), host.dpkg_log()
    change = (
        f"mkdir /root/key; mv {HOST_KEY} {HOST_KEY}.pub /root/key; "
        f"ssh-keygen -q -t ed25519 -N '' -f {HOST_KEY}; systemctl restart ssh"
    )
    undo = "mv /root/key/* /etc/ssh; rmdir /root/key; systemctl restart ssh"
    with host.changed(change, undo):
        fault = await host.fault(host.subject.swap(NEW))
        assert (fault.kind, fault.attempted) == ("host-key-mismatch", "connect")
        accepted = "journalctl -q -o cat -u ssh --since -5s"
        assert "Accepted publickey" not in host.sh(accepted).rpartition("Server listening")[2]
    await assert_untouched(host, log, pid)
    await host.swap()
