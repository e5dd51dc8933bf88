"""The steps of one swap on one host, as the worker does them, and other ways to the same end."""

import hashlib
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from bench.hosts import HostError
from bench.publishing import AFTER, deb_of
from bench.stage import ROOT, Stage
from remote import apt, proof, sections, service, shell, systemd, transaction
from remote.destination import Destination
from remote.identity import derive_host_key, load_client_key, load_secret
from remote.proof import Expected
from remote.shell import Shell
from settings import required

Step = tuple[str, Callable[[], Awaitable[object]]]

_TIMEOUT = timedelta(seconds=60)
_UNIT = "relight-bench-step.service"
_FETCHED = "/tmp/relight-bench.deb"  # noqa: S108 - a folder of the machine's own
_TOOLS = ROOT / "bench" / "tools"


@asynccontextmanager
async def connected(stage: Stage) -> AsyncIterator[Shell]:
    """Open a shell on the stage's first host, as the worker opens it."""
    host, ssh = stage.hosts[0], stage.settings.ssh
    secret = load_secret(required(ssh.host_key_secret, "ssh", "host_key_secret"))
    async with shell.connect(
        Destination(host.address, ssh.port, ssh.user, host.key),
        load_client_key(required(ssh.client_key, "ssh", "client_key")),
        derive_host_key(secret, host.key).public,
        ssh.connect_timeout,
    ) as opened:
        yield opened


@dataclass(frozen=True)
class Job:
    """What is to be done on the host."""

    stage: Stage
    expected: Expected
    deb: Path

    @classmethod
    async def of(cls, stage: Stage) -> "Job":
        """Return the swap to the release after."""
        daemon = stage.settings.daemon
        expected = Expected(daemon.package, AFTER, daemon.unit, daemon.executable)
        return cls(stage, expected, await deb_of(AFTER))

    @property
    def url(self) -> str:
        """Where the repository has the release's file."""
        package = self.expected.package
        place = f"pool/main/{package[0]}/{package}/{self.deb.name}"
        return f"{self.stage.settings.repository.url}/{place}"


def steps(job: Job, on: Shell) -> list[Step]:
    """Return the parts of the worker's swap, each alone, in the order in which they come."""

    def run(*argv: str, sudo: bool = False) -> Callable[[], Awaitable[object]]:
        return partial(on.run, argv, timeout=_TIMEOUT, check=False, sudo=sudo)

    package, unit, version = job.expected.package, job.expected.unit, job.expected.version
    empty = ["systemd-run", f"--unit={_UNIT}", "--quiet", "--property=Type=exec"]
    empty += ["--property=RemainAfterExit=yes", "/bin/true"]
    invocation = systemd.invocation_output("0" * 32, transaction.OUTPUT_LINES)
    return [
        ("an exec of nothing", run("true")),
        ("the same through sudo", run("true", sudo=True)),
        ("look at a transaction (each)", run(*systemd.show(_UNIT))),
        ("systemd-run of nothing", run(*empty, sudo=True)),
        ("apt-get update, lean", run(*apt.refresh(), sudo=True)),
        ("apt-cache madison, lean", run(*apt.listed(package), sudo=True)),
        ("apt-get install, lean", run(*apt.install(package, version), sudo=True)),
        ("  of which dpkg-preconfigure", run("/usr/sbin/dpkg-preconfigure", "--apt", sudo=True)),
        ("curl the .deb", run("curl", "--silent", "--output", _FETCHED, job.url)),
        ("dpkg --install of it", run("dpkg", "--install", _FETCHED, sudo=True)),
        ("dpkg-query", run("dpkg-query", "--show", package)),
        ("journalctl --sync", run(*systemd.sync_journal(), sudo=True)),
        ("read the journal", run(*invocation, sudo=True)),
        ("stop the unit", run(*systemd.stop(_UNIT), sudo=True)),
        ("reset-failed of it", run(*systemd.reset_failed(_UNIT), sudo=True)),
        ("look at the proof (each)", partial(proof.look, on, job.expected)),
        ("daemon-reload", run(*systemd.daemon_reload(), sudo=True)),
        ("restart the daemon", run(*systemd.restart(unit), sudo=True)),
    ]


def alternatives(job: Job) -> list[Step]:
    """Return whole swaps, from the connection to the last look."""
    return [
        ("as the worker does it, three connections", partial(_as_the_worker, job)),
        ("one exec: lean apt, reload, restart, look", partial(_one_exec, job, _lean_apt(job))),
        ("one exec: as above, without madison", partial(_one_exec, job, _bare_apt(job))),
        ("one exec: a .deb checked by SHA-256, dpkg", partial(_one_exec, job, _by_hash(job))),
        (
            "  reload only where systemd says it is due, one exec",
            partial(_one_exec, job, _by_hash(job), reload=_RELOAD_IF_DUE),
        ),
        ("detached, one connection: lean apt, no madison", partial(_detached, job, _bare_apt(job))),
        (
            "  reload only where systemd says it is due, lean apt",
            partial(_detached, job, _bare_apt(job), reload=_RELOAD_IF_DUE),
        ),
        ("detached, one connection: .deb by SHA-256", partial(_detached, job, _by_hash(job))),
        (
            "  reload only where systemd says it is due, SHA-256",
            partial(_detached, job, _by_hash(job), reload=_RELOAD_IF_DUE),
        ),
        ("one exec: plain apt, as general tools do", partial(_one_exec, job, _plain_apt(job))),
    ]


async def _as_the_worker(job: Job) -> None:
    package, version = job.expected.package, job.expected.version
    unit = transaction.unit_name("bench")
    argv = apt.install_transaction(unit, package, version)
    async with connected(job.stage) as on:
        await transaction.run_to_end(on, unit, argv, package, lambda _: None)
    async with connected(job.stage) as on:
        await proof.look(on, job.expected)
        await service.restart(on, job.expected.unit)
    async with connected(job.stage) as on:
        await proof.watch(on, job.expected, timedelta(0), lambda _: None)


_RELOAD = "systemctl daemon-reload"
_RELOAD_IF_DUE = """\
if [ "$(systemctl show --property=NeedDaemonReload --value "$unit")" = yes ]; then
    systemctl daemon-reload
fi"""


async def _one_exec(job: Job, change: str, *, reload: str = _RELOAD) -> None:
    """Do all in one shell script under one sudo, whose last words are the proof's answers."""
    unit = job.expected.unit
    look = sections.ask(proof.questions(job.expected))[-1]
    script = f"set -e; unit={unit}\n{change}\n{reload}\nsystemctl restart {unit}\n{look}"
    async with connected(job.stage) as on:
        await on.run(["/bin/sh", "-c", script], timeout=_TIMEOUT, sudo=True)


async def _detached(job: Job, change: str, *, reload: str = _RELOAD) -> None:
    """Do all in one transient unit, and wait for its end without asking again and again.

    The last exec reads how it ended, takes the proof's look and clears the unit away; what the
    unit said would be read where it failed.
    """
    unit = job.expected.unit
    script = f"set -e; unit={unit}\n{change}\n{reload}\nsystemctl restart {unit}"
    start = ["systemd-run", f"--unit={_UNIT}", "--quiet", "--property=Type=exec"]
    start += ["--property=RemainAfterExit=yes", "/bin/sh", "-c", script]
    questions = {"transaction": systemd.show(_UNIT), **proof.questions(job.expected)}
    end = f"{sections.ask(questions)[-1]}\nsystemctl stop {_UNIT}"
    async with connected(job.stage) as on:
        await on.run(start, timeout=_TIMEOUT, sudo=True)
        shown = await on.run(systemd.show(_UNIT), timeout=_TIMEOUT)
        pid = systemd.parse_show(shown.stdout).main_pid
        wait = ["tail", f"--pid={pid}", "--sleep-interval=0.1", "--follow", "/dev/null"]
        await on.run(wait, timeout=_TIMEOUT)
        said = await on.run(["/bin/sh", "-c", end], timeout=_TIMEOUT, sudo=True)
    answers = sections.parse(said.stdout, list(questions))
    ended = transaction.transaction_state(systemd.parse_show(answers["transaction"].text))
    if ended.phase is not transaction.Phase.SUCCEEDED:
        raise HostError(f"the transaction is {ended}")


def _lean_apt(job: Job) -> str:
    script = apt.transaction_script(job.expected.package, job.expected.version)
    return f"(\n{script})"


def _bare_apt(job: Job) -> str:
    install = apt.install(job.expected.package, job.expected.version)
    return f"{shlex.join(apt.refresh())}\n{shlex.join(install)}"


def _by_hash(job: Job) -> str:
    """Fetch what the signed index names, which the control plane has read, and check it by hash."""
    digest = hashlib.sha256(job.deb.read_bytes()).hexdigest()
    file = f"/var/cache/apt/archives/{job.deb.name}"
    return f"""\
curl --fail --silent --show-error --max-time 60 --output {file} {job.url}
echo '{digest}  {file}' | sha256sum --check --quiet
DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --install {file}
rm {file}"""


def _plain_apt(job: Job) -> str:
    change = (_TOOLS / "swap.sh").read_text().partition("systemctl daemon-reload")[0]
    return f"set -- {job.expected.version}\n{change}"
