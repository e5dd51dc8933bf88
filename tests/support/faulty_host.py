"""A real machine on which faults are brought about, and its true state past the network."""

import asyncio
import dataclasses
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from activities.faults import describe
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import RULES
from relight.domain.proof import ReleaseSwapped
from relight.hosts import host_program
from relight.hosts.errors import RemoteError
from tests.support.apt_repository import (
    KeyRing,
    Repository,
    Served,
    serve,
)
from tests.support.contract_hosts import Subject, lab_subject
from tests.support.lab import Lab

OLD, NEW, GATED, ASKING, BULKY = "0.0.73", "0.0.74", "0.0.78", "0.0.79", "0.0.80"
GATE = "/run/gate"
BULK = "/usr/share/lantern-box/bulk"
UNIT = "lantern-box.service"

# A script of the package that goes no further while the gate is shut.
_WAIT_AT_GATE = f"""\
#!/bin/sh
[ -p {GATE} ] || exit 0
touch {GATE}.reached
read -r _ <{GATE}
"""

# A question of debconf's, asked by the package's own script where nobody asked before.
_TEMPLATES = """\
Template: lantern-box/level
Type: string
Default: calm
Description: How loud?
"""
_CONFIG = """\
#!/bin/sh
. /usr/share/debconf/confmodule
db_input high lantern-box/level || true
db_go || true
"""
_TELL_ANSWER = """\
#!/bin/sh
. /usr/share/debconf/confmodule
db_get lantern-box/level
echo "$RET" >/run/answered
"""


@dataclass
class FaultyHost:
    """One machine, and the repository that it alone installs from.

    Attributes:
        good: what the repository is when nothing is wrong with it.
        served: how it answers; `served.root` may be another one for a while.
        keys: the ring with the key that the host trusts, which is `signer`'s.
    """

    lab: Lab
    subject: Subject
    good: Repository
    served: Served
    keys: KeyRing
    signer: str

    @property
    def id(self) -> str:
        return self.lab.machine_id(self.subject.machine.key)

    def sh(self, script: str) -> str:
        """Run a script on the machine as root, whatever the state of its network and sshd."""
        return self.lab.run(self.id, "sh", "-ec", script).stdout.strip()

    def sign(self, text: bytes) -> bytes:
        """Sign as the one whom the host trusts."""
        return self.keys.sign(text, [self.signer])

    def until_sh(self, script: str) -> str:
        """Run a script on the machine until it succeeds."""
        return self.lab.until_run(self.id, "sh", "-ec", script).strip()

    def package(self) -> str:
        """What dpkg truly has, as in `ii 0.0.74`."""
        return self.sh("dpkg-query -Wf '${db:Status-Abbrev} ${Version}' lantern-box | tr -s ' '")

    def dpkg_log(self) -> list[str]:
        """What dpkg did to the package, as in `upgrade 0.0.73 0.0.74`."""
        lines = self.sh("cat /var/log/dpkg.log").splitlines()
        rows = [line.split()[2:] for line in lines if " lantern-box:" in line]
        return [f"{row[0]} {row[2]} {row[3]}" for row in rows if row[0] in {"install", "upgrade"}]

    def main_pid(self) -> str:
        return self.sh(f"systemctl show --value --property=MainPID {UNIT}")

    async def settle(self, version: str) -> None:
        """Bring the host to a version by another way than the one that is tried."""
        script = (
            "systemctl stop 'relight-swap-*' 2>/dev/null || true; "
            f"rm -f {GATE} {GATE}.reached /var/lib/dpkg/info/lantern-box.postrm; apt-get clean; "
            f"curl -fsSo /run/settle.deb {self.served.url}/{self.deb(version)}; "
            "dpkg --configure -a || true; dpkg -i --force-downgrade /run/settle.deb >/dev/null; "
            f"systemctl daemon-reload; systemctl reset-failed; systemctl restart {UNIT}"
        )
        self.sh(script)
        await self.subject.prove(version)

    def deb(self, version: str) -> str:
        """The path of a package in the repository."""
        (found,) = self.good.root.glob(f"pool/**/lantern-box_{version}_*.deb")
        return str(found.relative_to(self.good.root))

    async def stays(self, version: str, pid: str) -> None:
        """Nothing was changed: the version is whole, and the process of before proves it."""
        assert self.package() == f"ii {version}"
        assert self.main_pid() == pid
        await self.subject.prove(version)
        assert self.main_pid() == pid

    async def swap(self, version: str = NEW, *, run: str | None = None) -> ReleaseSwapped:
        """Bring the host to a version, be it an older one."""
        return await self.subject.swap(version, run=run, allow_downgrade=True)

    async def fault(self, doing: Awaitable[object]) -> Fault:
        """Return the fault in which something ends, that must name this host and its class."""
        with pytest.raises(RemoteError) as caught:
            await doing
        fault = describe(caught.value)
        machine = self.subject.machine
        assert (fault.host, fault.machine_key) == (machine.address, machine.key)
        assert fault.fault_class is RULES[fault.kind].fault_class
        assert fault.attempted
        assert caught.value.retryable is RULES[fault.kind].retried
        return fault

    async def apt_fault(self, version: str = NEW, *, allow_downgrade: bool = False) -> Fault:
        """Return the fault in which a swap ends that apt gives up: with its last words."""
        fault = await self.fault(self.subject.swap(version, allow_downgrade=allow_downgrade))
        assert fault.argv[:2] == (str(host_program.PROGRAM), "swap")
        assert fault.exit_code == 100
        assert fault.stderr_tail
        return fault

    def patient(self) -> Subject:
        """The same host, looked at for longer than anything here takes."""
        service = dataclasses.replace(self.subject.service, stability_window=timedelta(seconds=60))
        return dataclasses.replace(self.subject, service=service)

    def shut_gate(self, *, unpacking: bool = False) -> None:
        """Have the next change of the package wait: while it unpacks, or as it is configured.

        The version `GATED` waits as it is configured; what waits in the unpacking is a script of
        the version that is there.
        """
        self.sh(f"mkfifo {GATE}")
        if unpacking:
            script = shlex.quote(_WAIT_AT_GATE)
            target = "/var/lib/dpkg/info/lantern-box.postrm"
            self.sh(f"printf %s {script} >{target}; chmod 755 {target}")

    async def until_at_gate(self) -> None:
        await asyncio.to_thread(self.until_sh, f"test -e {GATE}.reached")

    def open_gate(self) -> None:
        """Let what waits there go on."""
        self.sh(f"echo go >{GATE}; rm -f {GATE}")

    def transaction(self) -> str:
        """The unit that changes packages."""
        return self.sh("systemctl list-units --plain --no-legend 'relight-*' | cut -d' ' -f1")

    @contextmanager
    def rules(self, verdict: str) -> Iterator[None]:
        """Have packets to the repository meet a verdict of nftables."""
        port = self.served.url.rpartition(":")[2]
        chain = "chain out { type filter hook output priority 0; "
        self.sh(f"nft 'table inet fault {{ {chain} tcp dport {port} {verdict}; }}; }}'")
        try:
            yield
        finally:
            self.sh("nft delete table inet fault")

    @contextmanager
    def serving(self, repository: Repository) -> Iterator[None]:
        """Serve another repository for a while."""
        self.served.root = repository.root
        try:
            yield
        finally:
            self.served.root = self.good.root

    @contextmanager
    def answering(self, path: str, status: int, body: bytes) -> Iterator[None]:
        """Give another answer for one path for a while."""
        self.served.answers[f"/{path}"] = (status, body)
        try:
            yield
        finally:
            self.served.answers.clear()

    @contextmanager
    def changed(self, bring: str, lift: str) -> Iterator[None]:
        """Run one script, and another one at the end."""
        self.sh(bring)
        try:
            yield
        finally:
            self.sh(lift)

    @contextmanager
    def locked(self, path: str) -> Iterator[None]:
        """Have a process of its own hold a lock of dpkg or apt."""
        program = (
            f"import fcntl, time; held = open({path!r}, 'w'); fcntl.lockf(held, fcntl.LOCK_EX); "
            "open('/run/locked', 'w').close(); time.sleep(600)"
        )
        start = f"systemd-run --quiet --unit=holder python3 -c {shlex.quote(program)}"
        with self.changed(start, "rm -f /run/locked; systemctl stop holder || true"):
            self.until_sh("test -e /run/locked")
            yield


def _repack(
    deb: Path, version: str, *, scripts: Mapping[str, str] | None = None, bulk_bytes: int = 0
) -> None:
    """Make another version of a package, with scripts of its own, or a file that takes room."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        old = deb.name.split("_")[1]
        control.write_text(control.read_text().replace(f"Version: {old}", f"Version: {version}"))
        for name, text in (scripts or {}).items():
            script = tree / "DEBIAN" / name
            script.write_text(text)
            script.chmod(0o755)
        if bulk_bytes:
            bulk = tree / BULK.lstrip("/")
            bulk.parent.mkdir(parents=True)
            bulk.write_bytes(bytes(bulk_bytes))
        target = deb.with_name(deb.name.replace(old, version))
        build = ("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, target)
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)


@asynccontextmanager
async def faulty_host(lab: Lab, key: str, folder: Path) -> AsyncIterator[FaultyHost]:
    """Make a machine that installs from a repository of the tests' own, signed by the lab's key."""
    shutil.copytree(lab.state / "repository/pool", folder / "repository/pool")
    good = Repository(folder / "repository", ("amd64",))
    (new,) = good.root.glob(f"pool/**/lantern-box_{NEW}_*.deb")
    good.architectures = (new.stem.rpartition("_")[2],)
    _repack(new, GATED, scripts={"postinst": _WAIT_AT_GATE})
    asking = {"templates": _TEMPLATES, "config": _CONFIG, "postinst": _TELL_ANSWER}
    _repack(new, ASKING, scripts=asking)
    _repack(new, BULKY, bulk_bytes=2**20)
    keys, signer = KeyRing(lab.state / "gnupg"), "lab@localhost"
    good.publish(lambda text: keys.sign(text, [signer]))
    gateway = str(IPv4Network(lab.network)[1])
    with serve(good.root, gateway) as served:
        context = lab_subject(lab, key, OLD, repository_url=served.url)
        async with context as subject:
            # Two looks are enough where nothing is expected to crash.
            subject.service = dataclasses.replace(
                subject.service, stability_window=timedelta(milliseconds=300)
            )
            subject.hosts = dataclasses.replace(
                subject.hosts,  # type: ignore[type-var]
                connect_timeout=timedelta(seconds=2),
            )
            await subject.first_boot()
            yield FaultyHost(lab, subject, good, served, keys, signer)
