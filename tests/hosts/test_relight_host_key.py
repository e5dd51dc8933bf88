"""`relight-host host-key`: who may change the host key, and what is left if sshd does not take it.

sshd, systemd and ssh-keyscan are stubs that show the key of the last reload; ssh-keygen is real.
"""

import stat
import subprocess
from pathlib import Path

import pytest

from relight.hosts.keys import HostKey, derive_host_key
from tests.support.apt_root import AptRoot

MACHINE = "de-1-g1"
OLD, NEW, OTHER = (derive_host_key(bytes([byte] * 32), MACHINE) for byte in (1, 2, 3))
ADDRESSES = ("0.0.0.0:22", "[::]:22")


class SshdHost:
    """A host whose sshd shows `OLD`.

    Attributes:
        key: the file of its host key.
        shown: the file of the public key that sshd has read.
        calls: the file of the calls of programs.
    """

    def __init__(self, root: Path) -> None:
        self.host = AptRoot(root)
        self.key = root / "etc/ssh/ssh_host_ed25519_key"
        self.shown, self.calls = root / "shown", root / "calls"
        self.key.write_text(OLD.private)
        self.key.chmod(0o600)
        self.shown.write_text(f"{OLD.public}\n")
        self.sshd()
        self.systemctl(f"ssh-keygen -y -f {self.key} >{self.shown}")
        keyscan = f"""
while [ $# -gt 1 ]; do [ "$1" != -p ] || port=$2; shift; done
echo "ssh-keyscan $1 $port" >>{self.calls}
echo "$1 $(cat {self.shown})"
"""
        self.host.put_program("ssh-keyscan", keyscan)

    def sshd(self, test: str = "exit 0", host_key: str = "") -> None:
        """Let sshd pass or fail its test, and name another host key."""
        lines = [f"hostkey {host_key or self.key}", *(f"listenaddress {it}" for it in ADDRESSES)]
        shown = "\n".join(lines)
        self.host.put_program("sshd", f'case $1 in -t) {test} ;; -T) echo "{shown}" ;; esac')

    def systemctl(self, reload: str) -> None:
        """Say what happens when sshd is reloaded."""
        script = f"""
echo "systemctl $*" >>{self.calls}
case $1 in reload*) {reload} ;; esac
"""
        self.host.put_program("systemctl", script)

    def change(self, *keys: HostKey | str) -> subprocess.CompletedProcess[str]:
        """Call the program with these keys, and check that no key is left or printed."""
        stdin = "".join(each if isinstance(each, str) else each.private for each in keys)
        ended = self.host.call("host-key", stdin=stdin)
        assert "PRIVATE KEY" not in ended.stdout + ended.stderr
        left = {path.name for path in (self.host.root / "run/relight").iterdir()}
        assert left <= {"host-key.lock"}
        assert {path.name for path in self.key.parent.iterdir()} <= {
            self.key.name,
            f"{self.key.name}.pub",
        }
        return ended

    def reloads(self) -> list[str]:
        found = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in found if line.startswith("systemctl reload")]

    def assert_has(self, key: HostKey) -> None:
        assert self.key.read_text() == key.private
        assert stat.S_IMODE(self.key.stat().st_mode) == 0o600
        assert self.shown.read_text().split()[1] == key.public.split()[1]


@pytest.fixture
def sshd_host(tmp_path: Path) -> SshdHost:
    return SshdHost(tmp_path / "host")


def test_who_knows_the_present_key_changes_it(sshd_host: SshdHost) -> None:
    ended = sshd_host.change(OLD, NEW)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    sshd_host.assert_has(NEW)
    assert sshd_host.reloads() == ["systemctl reload -- ssh.service"]
    public = sshd_host.key.with_suffix(".pub")
    assert public.read_text().split()[:2] == NEW.public.split()[:2]
    assert stat.S_IMODE(public.stat().st_mode) == 0o644


def test_a_second_call_changes_nothing(sshd_host: SshdHost) -> None:
    sshd_host.change(OLD, NEW)
    before = sshd_host.key.stat()
    assert sshd_host.change(OLD, NEW).returncode == 0
    assert sshd_host.key.stat() == before
    sshd_host.assert_has(NEW)


def test_a_call_after_one_that_was_killed_before_the_reload_ends_it(sshd_host: SshdHost) -> None:
    sshd_host.key.write_text(NEW.private)
    assert sshd_host.change(OLD, NEW).returncode == 0
    sshd_host.assert_has(NEW)


@pytest.mark.parametrize(
    "read",
    [
        (OTHER, NEW),
        (NEW, OTHER),
        (NEW, NEW),
        # The public part of the present key in a private key of another one.
        (OTHER.private.replace(OTHER.private.split()[5], OLD.private.split()[5]), NEW),
        ("", NEW),
        ("\n", NEW),
        (OLD,),
        (OLD, OLD.public),
        (OLD, "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
        ("x" * 5000, OLD, NEW),
        (OLD.public, NEW),
        (),
    ],
    ids=range(12),
)
def test_whoever_does_not_know_the_present_key_changes_nothing(
    sshd_host: SshdHost, read: tuple[HostKey | str, ...]
) -> None:
    ended = sshd_host.change(*read)
    assert (ended.returncode, ended.stdout) == (77, "")
    assert ended.stderr.startswith("relight: refused: ")
    sshd_host.assert_has(OLD)
    assert sshd_host.reloads() == []


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_key_of_another_type_or_with_a_passphrase_is_refused(
    sshd_host: SshdHost, tmp_path: Path, kind: str
) -> None:
    file, passphrase = tmp_path / kind, "secret" if kind == "ed25519" else ""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", file], check=True)
    assert sshd_host.change(OLD, file.read_text()).returncode == 77
    sshd_host.assert_has(OLD)


def test_what_sshd_refuses_is_taken_back(sshd_host: SshdHost) -> None:
    broken = f'cmp -s {sshd_host.key} {sshd_host.key}.bad && {{ echo "no hostkeys" >&2; exit 1; }}'
    sshd_host.sshd(test=broken)
    bad = sshd_host.key.with_name(f"{sshd_host.key.name}.bad")
    bad.write_text(NEW.private)
    ended = sshd_host.host.call("host-key", stdin=OLD.private + NEW.private)
    bad.unlink()
    assert ended.returncode == 91
    assert "the host key was not changed: no hostkeys" in ended.stderr
    sshd_host.assert_has(OLD)
    assert sshd_host.reloads() == []


def test_a_key_that_sshd_does_not_show_after_its_reload_is_taken_back(sshd_host: SshdHost) -> None:
    sshd_host.systemctl(":")
    ended = sshd_host.change(OLD, NEW)
    assert ended.returncode == 91
    assert "sshd did not show the new host key" in ended.stderr
    sshd_host.assert_has(OLD)
    assert sshd_host.reloads() == [
        *("systemctl reload -- ssh.service", "systemctl reload-or-restart -- ssh.service")
    ]
    asked = [line for line in sshd_host.calls.read_text().splitlines() if "keyscan" in line]
    assert asked[:2] == ["ssh-keyscan 127.0.0.1 22", "ssh-keyscan ::1 22"]


def test_a_reload_that_fails_is_taken_back(sshd_host: SshdHost) -> None:
    fails = "[ $1 != reload ] || { echo 'Job failed' >&2; exit 1; }"
    sshd_host.systemctl(fails)
    ended = sshd_host.change(OLD, NEW)
    assert (ended.returncode, "Job failed" in ended.stderr) == (91, True)
    sshd_host.assert_has(OLD)


def test_a_host_whose_sshd_uses_another_file_keeps_its_key(sshd_host: SshdHost) -> None:
    sshd_host.sshd(host_key="/etc/ssh/other")
    ended = sshd_host.change(OLD, NEW)
    assert (ended.returncode, "sshd does not use" in ended.stderr) == (91, True)
    sshd_host.assert_has(OLD)


def test_a_folder_that_others_may_write_to_is_not_used(sshd_host: SshdHost) -> None:
    run = sshd_host.host.root / "run/relight"
    run.mkdir(parents=True)
    run.chmod(0o777)
    ended = sshd_host.host.call("host-key", stdin=OLD.private + NEW.private)
    assert ended.returncode == 100
    sshd_host.assert_has(OLD)
    assert list(run.iterdir()) == []
