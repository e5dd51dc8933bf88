"""Real machines on which tests cause faults, and their true state, read past the network.

The first machine boots with cloud-init and installs a release. The others start from a snapshot of
its disk: each test gets its own, in a second, and no test has to repair what another one left.
"""

import asyncio
import dataclasses
import itertools
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

from activities.execution import fault_of
from devkit.simulated.parts import HOST_KEY_SECRET
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import RULES
from relight.domain.machine import Machine
from relight.domain.proof import ReleaseSwapped
from relight.hosts import host_program
from relight.hosts.errors import RemoteError
from relight.hosts.keys import derive_host_key
from tests.support.apt_repository import (
    KeyRing,
    Repository,
    Served,
    serve,
)
from tests.support.contract_hosts import Subject, lab_subject
from tests.support.lab import Lab

OLD, NEW, GATED, ASKING, BULKY = "0.0.73", "0.0.74", "0.0.78", "0.0.79", "0.0.80"
SELF_STARTING = "0.0.81"
GATE = "/run/gate"
BULK = "/usr/share/lantern-box/bulk"
UNIT = "lantern-box.service"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
SNAPSHOT = "faulty"

# A maintainer script that waits while the gate is closed.
_WAIT_AT_GATE = f"""\
#!/bin/sh
[ -p {GATE} ] || exit 0
touch {GATE}.reached
read -r _ <{GATE}
"""

# As the script that debhelper makes.
_START = f"""\
#!/bin/sh
systemctl --system daemon-reload
deb-systemd-invoke restart {UNIT}
"""

_STOP = f"#!/bin/sh\ndeb-systemd-invoke stop {UNIT}\n"

# A debconf question that the package's own script asks for the first time.
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
    """A machine with `OLD` installed and running, and the repository that it installs from.

    Attributes:
        good: the repository without a fault.
        served: its HTTP server; `served.root` may be another repository for some time.
        keys: the key ring with `signer`'s key, which the host trusts.
    """

    lab: Lab
    subject: Subject
    good: Repository
    served: Served
    keys: KeyRing
    signer: str

    @property
    def id(self) -> str:
        """The lab's id of the machine."""
        return self.subject.machine.provider_id

    def sh(self, script: str) -> str:
        """Run a script on the machine as root. It needs neither the network nor sshd."""
        return self.lab.run(self.id, "sh", "-ec", script).stdout.strip()

    def sign(self, text: bytes) -> bytes:
        """Sign with the key that the host trusts."""
        return self.keys.sign(text, [self.signer])

    def until_sh(self, script: str) -> str:
        """Repeat a script on the machine until it succeeds."""
        return self.lab.until_run(self.id, "sh", "-ec", script).strip()

    def package(self) -> str:
        """Return the state and version of the package in dpkg, as in `ii 0.0.74`."""
        return self.sh("dpkg-query -Wf '${db:Status-Abbrev} ${Version}' lantern-box | tr -s ' '")

    def dpkg_log(self) -> list[str]:
        """Return what dpkg did to the package, as in `upgrade 0.0.73 0.0.74`, oldest first."""
        lines = self.sh("cat /var/log/dpkg.log").splitlines()
        rows = [line.split()[2:] for line in lines if " lantern-box:" in line]
        return [f"{row[0]} {row[2]} {row[3]}" for row in rows if row[0] in {"install", "upgrade"}]

    def main_pid(self) -> str:
        """Return the process id of the service."""
        return self.sh(f"systemctl show --value --property=MainPID {UNIT}")

    def deb(self, version: str) -> str:
        """Return the path of a version of the package in the repository."""
        (found,) = self.good.root.glob(f"pool/**/lantern-box_{version}_*.deb")
        return str(found.relative_to(self.good.root))

    def repack(self, repository: Repository, version: str, fields: Mapping[str, str]) -> None:
        """Add another version of the good package `NEW` to a repository, with further fields."""
        (new,) = repository.root.glob(f"pool/**/lantern-box_{NEW}_*.deb")
        repack(new, version, fields=fields)

    async def assert_unchanged(self, version: str, pid: str) -> None:
        """Check that the version is installed and proven by the same process as before."""
        assert self.package() == f"ii {version}"
        assert self.main_pid() == pid
        await self.subject.prove(version)
        assert self.main_pid() == pid

    async def swap(self, version: str = NEW, *, run: str | None = None) -> ReleaseSwapped:
        """Install a newer or older version, and prove it."""
        return await self.subject.swap(version, run=run, allow_downgrade=True)

    async def fault(self, call: Awaitable[object]) -> Fault:
        """Return the fault in which a call ends. It must name this host and the right class."""
        with pytest.raises(RemoteError) as caught:
            await call
        fault = fault_of(caught.value)
        machine = self.subject.machine
        assert (fault.host, fault.machine_key) == (machine.address, machine.key)
        assert fault.fault_class is RULES[fault.kind].fault_class
        assert fault.attempted
        assert caught.value.retryable is RULES[fault.kind].retried
        return fault

    async def apt_fault(self, version: str = NEW, *, allow_downgrade: bool = False) -> Fault:
        """Return the fault of a swap in which apt fails. It must contain apt's last output."""
        fault = await self.fault(self.subject.swap(version, allow_downgrade=allow_downgrade))
        assert fault.argv[:2] == (str(host_program.PROGRAM), "swap")
        assert fault.exit_code == 100
        assert fault.stderr_tail
        return fault

    def with_long_stability_window(self) -> Subject:
        """Return the same host with a stability window that is longer than any test."""
        service = dataclasses.replace(self.subject.service, stability_window=timedelta(seconds=60))
        return dataclasses.replace(self.subject, service=service)

    def close_gate(self, *, unpacking: bool = False) -> None:
        """Make the next change of the package wait, in its unpacking or in its configuration.

        Only the version `GATED` waits in its configuration. In the unpacking, a script of the
        installed version waits.
        """
        self.sh(f"mkfifo {GATE}")
        if unpacking:
            script = shlex.quote(_WAIT_AT_GATE)
            target = "/var/lib/dpkg/info/lantern-box.postrm"
            self.sh(f"printf %s {script} >{target}; chmod 755 {target}")

    async def until_at_gate(self) -> None:
        """Wait until the change waits at the gate."""
        await asyncio.to_thread(self.until_sh, f"test -e {GATE}.reached")

    def open_gate(self) -> None:
        """Let the waiting change continue."""
        self.sh(f"echo go >{GATE}; rm -f {GATE}")

    def transaction(self) -> str:
        """Return the name of the unit that changes the package; empty without one."""
        return self.sh("systemctl list-units --plain --no-legend 'relight-*' | cut -d' ' -f1")

    @contextmanager
    def rules(self, verdict: str) -> Iterator[None]:
        """Apply an nftables verdict to all packets to the repository, until the block ends."""
        port = self.served.url.rpartition(":")[2]
        chain = "chain out { type filter hook output priority 0; "
        self.sh(f"nft 'table inet fault {{ {chain} tcp dport {port} {verdict}; }}; }}'")
        try:
            yield
        finally:
            self.sh("nft delete table inet fault")

    @contextmanager
    def serving(self, repository: Repository) -> Iterator[None]:
        """Serve another repository until the block ends."""
        self.served.root = repository.root
        try:
            yield
        finally:
            self.served.root = self.good.root

    @contextmanager
    def answering(self, path: str, status: int, body: bytes) -> Iterator[None]:
        """Give another answer for one path until the block ends."""
        self.served.answers[f"/{path}"] = (status, body)
        try:
            yield
        finally:
            self.served.answers.clear()

    @contextmanager
    def changed(self, change: str, undo: str) -> Iterator[None]:
        """Run one script, and another one at the end of the block."""
        self.sh(change)
        try:
            yield
        finally:
            self.sh(undo)

    @contextmanager
    def locked(self, path: str) -> Iterator[None]:
        """Hold a lock of dpkg or apt in another process of the machine, until the block ends."""
        program = (
            f"import fcntl, time; held = open({path!r}, 'w'); fcntl.lockf(held, fcntl.LOCK_EX); "
            "open('/run/locked', 'w').close(); time.sleep(600)"
        )
        start = f"systemd-run --quiet --unit=holder python3 -c {shlex.quote(program)}"
        with self.changed(start, "rm -f /run/locked; systemctl stop holder || true"):
            self.until_sh("test -e /run/locked")
            yield


def repack(
    deb: Path,
    version: str,
    *,
    scripts: Mapping[str, str] | None = None,
    bulk_bytes: int = 0,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Build another version of a package, with maintainer scripts, a large file or more fields."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        old = deb.name.split("_")[1]
        control.write_text(control.read_text().replace(f"Version: {old}", f"Version: {version}"))
        with control.open("a") as file:
            file.writelines(f"{name}: {value}\n" for name, value in (fields or {}).items())
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


class FaultyHosts:
    """Starts machines from a snapshot of `original`, one ahead of the tests."""

    def __init__(self, original: FaultyHost, pristine: Path) -> None:
        """Use a snapshot named `SNAPSHOT`, and a copy of the good repository's `dists` folder."""
        self._original = original
        self._pristine = pristine
        self._count = itertools.count(1)
        self._next = self._create()

    @asynccontextmanager
    async def start(self) -> AsyncIterator[FaultyHost]:
        """Return a machine that no test has used; remove it at the end of the block."""
        self._restore_repository()
        lab, machine = self._original.lab, self._next
        # It boots while the test runs.
        self._next = self._create()
        lab.until_status(machine.provider_id, "running")
        lab.until_run(machine.provider_id, "systemctl", "is-system-running", "--wait")
        subject = dataclasses.replace(self._original.subject, machine=machine)
        try:
            yield dataclasses.replace(self._original, subject=subject)
        finally:
            lab.request_deletion(machine.provider_id)

    def _create(self) -> Machine:
        key = f"faulty-{next(self._count)}-g1"
        host_key = derive_host_key(HOST_KEY_SECRET, key)
        created = self._original.lab.request_machine(
            label=key,
            image=SNAPSHOT,
            files={HOST_KEY: host_key.private, f"{HOST_KEY}.pub": host_key.public},
        )
        return self._original.subject.machine.model_copy(
            update={"key": key, "provider_id": created["id"], "address": created["address"]}
        )

    def _restore_repository(self) -> None:
        good, served = self._original.good, self._original.served
        served.root = good.root
        served.answers.clear()
        shutil.rmtree(good.root / "dists")
        shutil.copytree(self._pristine, good.root / "dists")


@asynccontextmanager
async def faulty_hosts(lab: Lab, folder: Path) -> AsyncIterator[FaultyHosts]:
    """Boot and provision one machine, and take the snapshot for the others.

    They install from a repository in `folder`, which is signed with the lab's key.
    """
    shutil.copytree(lab.state / "repository/pool", folder / "repository/pool")
    good = Repository(folder / "repository", ("amd64",))
    (new,) = good.root.glob(f"pool/**/lantern-box_{NEW}_*.deb")
    good.architectures = (new.stem.rpartition("_")[2],)
    repack(new, GATED, scripts={"postinst": _WAIT_AT_GATE})
    asking = {"templates": _TEMPLATES, "config": _CONFIG, "postinst": _TELL_ANSWER}
    repack(new, ASKING, scripts=asking)
    repack(new, SELF_STARTING, scripts={"postinst": _START, "preinst": _STOP})
    repack(new, BULKY, bulk_bytes=2**20)
    keys, signer = KeyRing(lab.state / "gnupg"), "lab@localhost"
    good.publish(lambda text: keys.sign(text, [signer]))
    pristine = shutil.copytree(good.root / "dists", folder / "pristine")
    gateway = str(IPv4Network(lab.network)[1])
    with serve(good.root, gateway) as served:
        async with lab_subject(lab, "faulty-0-g1", OLD, repository_url=served.url) as subject:
            # Two observations are enough where no crash is expected.
            subject.service = dataclasses.replace(
                subject.service, stability_window=timedelta(milliseconds=300)
            )
            await subject.first_boot()
            await subject.prove(OLD)
            original = FaultyHost(lab, subject, good, served, keys, signer)
            lab.shut_down(original.id)
            lab.take_snapshot(original.id, SNAPSHOT)
            yield FaultyHosts(original, pristine)
