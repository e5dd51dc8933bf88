"""A root folder of a host for the real apt and dpkg, separate from this machine's.

The real `relight-host` runs in it, with its paths moved into the root. Packages in it must have no
maintainer scripts: dpkg would run them in that root, which has no shell.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from relight.domain.release import DebFile
from relight.domain.service import Service
from relight.hosts import host_program
from relight.hosts.packages import PackageState, parse_query
from tests.support.apt_repository import (
    COMPONENT,
    PACKAGE,
    SUITE,
)

UNIT = f"{PACKAGE}.service"

_CONFIGURATION = """\
Dir "{root}/";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Log "{root}/log";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
Acquire::http::Proxy "DIRECT";
DPkg::Options {{ "--root={root}"; "--force-not-root"; "--log={root}/log/dpkg.log"; }};
"""
_FOLDERS = (
    "var/lib/dpkg/info",
    "var/lib/dpkg/updates",
    "var/lib/dpkg/triggers",
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
    "var/tmp",
    "etc/apt/apt.conf.d",
    "etc/apt/preferences.d",
    "etc/apt/trusted.gpg.d",
    "etc/apt/sources.list.d",
    "etc/relight",
    "etc/ssh",
    "usr/bin",
    "usr/local/sbin",
    "usr/sbin",
    "log",
    "programs",
)
_MOVED = (
    "/etc/apt/apt.conf",
    "/etc/relight/host",
    "/usr/local/sbin/relight-host",
    "/etc/apt/auth.conf.d",
    "/etc/apt/keyrings",
    "/etc/apt/$SOURCE",
    "/etc/ssh/ssh_host_ed25519_key",
    "/run/relight",
    "/etc/systemd/system/$unit",
    "/run/systemd/system/$unit",
    "=/etc/dpkg",
    "=/run/systemd/transient",
    "=/sys/fs/cgroup",
    "/var/cache/apt/archives",
    "/var/lib/dpkg/info",
    "/var/lib/dpkg/updates",
    "/var/lib/relight/packages",
    "/var/lib/relight/unpacked",
    "/var/lib/relight/verify",
    "/var/lib/relight/first-boot",
    "/var/lib/relight/installed",
    "/var/lib/relight/together",
    "/usr/sbin/policy-rc.d",
    "/var/lib/relight/before",
    "/var/lib/relight/configuration",
    "/var/log/cloud-init-output.log",
    "/var/tmp",
)


_DRIVER = """\
n=0
call() {
  n=$((n + 1))
  "$PROGRAM" "$@" >"$ANSWERS/$n.out" 2>"$ANSWERS/$n.err" </dev/null
  echo $? >"$ANSWERS/$n.code"
  [ ! -e "$TRACE" ] || mv "$TRACE" "$ANSWERS/$n.trace"
}
"""


class Answer(NamedTuple):
    """The answer to a call of `relight-host`.

    Attributes:
        trace: what the programs that it ran wrote to `AptRoot.trace`.
    """

    exit_code: int
    stdout: str
    stderr: str
    trace: str


@dataclass
class AptRoot:
    """The files of a host that apt, dpkg and `relight-host` use."""

    root: Path

    def __post_init__(self) -> None:
        for folder in _FOLDERS:
            (self.root / folder).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "apt.conf").write_text(_CONFIGURATION.format(root=self.root))
        # apt calls dpkg by its path; by their names these are found first.
        tools = {"dpkg": f"--root={self.root} --force-not-root --log={self.root}/log/dpkg.log"}
        tools["dpkg-query"] = f"--admindir={self.root}/var/lib/dpkg"
        for name, options in tools.items():
            self.put_program(name, f'exec /usr/bin/{name} {options} "$@"')
        self.program.write_bytes(self.full_program())
        self.program.chmod(0o755)
        self.configure()

    @property
    def program(self) -> Path:
        return self.root / "usr/local/sbin/relight-host"

    def take_short_form(self, *, by_apt: bool = False) -> None:
        """Replace the program by its short form, with which a machine boots first."""
        short = host_program.text(first_boot=True, by_apt=by_apt).decode()
        self.program.write_text(self._moved(short, is_short=True))

    def full_program(self) -> bytes:
        """Return the full program, as this root has it."""
        return self._moved(host_program.text().decode()).encode()

    @property
    def executable(self) -> Path:
        """The file that the service's process should run."""
        return self.root / "usr/bin" / PACKAGE

    @property
    def loaded(self) -> Path:
        """The record of the unit files that systemd has read."""
        return self.root / "run/relight/loaded"

    @property
    def trace(self) -> Path:
        """A file that stub programs may append to."""
        return self.root / "trace"

    def configure(
        self,
        deb_urls: str = "",
        packages: Sequence[str] = (),
        *,
        pushed: bool = False,
        state_files: Sequence[str] = (),
    ) -> None:
        """Write the program's configuration."""
        service = Service(
            PACKAGE,
            UNIT,
            str(self.executable),
            timedelta(0),
            packages=tuple(packages),
            state_files=tuple(state_files),
        )
        told = host_program.configuration(service, deb_urls, pushed=pushed)
        (self.root / "etc/relight/host").write_text(told)

    def read_from(self, url: str, key: bytes, source: str = host_program.SOURCES_FILE) -> None:
        """Add a repository with its binary key."""
        file = self.root / "etc/apt" / source
        file.with_suffix(".gpg").write_bytes(key)
        file.write_text(
            f"Types: deb\nURIs: {url}\nSuites: {SUITE}\nComponents: {COMPONENT}\n"
            f"Signed-By: {file.with_suffix('.gpg')}\n"
        )

    def put_program(self, name: str, script: str) -> None:
        """Install a stub program, first in PATH."""
        file = self.root / "programs" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, script: str) -> tuple[int, str]:
        """Run a script, and return its exit code and its output."""
        ended = self._run(["/bin/sh", "-c", script])
        return ended.returncode, ended.stdout + ended.stderr

    def call(
        self, *words: str, path: str | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Call the program with these arguments."""
        return self._run([str(self.program), *words], path, stdin=stdin)

    def call_all(self, calls: Sequence[Sequence[str]]) -> list[Answer]:
        """Call the program once for each of these argument lists, from one shell."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            driver = folder / "driver"
            lines = [_DRIVER, *(f"call {shlex.join(call)}\n" for call in calls)]
            driver.write_text("".join(lines), encoding="utf-8")
            variables = {"PROGRAM": self.program, "ANSWERS": folder, "TRACE": self.trace}
            self._run(["/bin/sh", str(driver)], variables=variables)
            return [_read_answer(folder, number) for number in range(1, len(calls) + 1)]

    def install(
        self, version: str, leave: str = "upgrade", deb: DebFile | None = None
    ) -> tuple[int, str]:
        """Install a version, and return the exit code and the output."""
        change = host_program.Change(version, rollback=leave == "rollback", deb=deb)
        words = host_program.install(change)[1:]
        return self.run(f"exec {shlex.join([str(self.program), *words])} 2>&1")

    def hold(self, package: str) -> None:
        argv = ["dpkg", f"--root={self.root}", "--force-not-root", "--set-selections"]
        subprocess.run(argv, input=f"{package} hold\n", text=True, check=True)

    def state(self, package: str = PACKAGE) -> PackageState:
        form = "${db:Status-Abbrev}\\t${Version}\\t${Architecture}\\n"
        ended = self._run(["dpkg-query", "--show", f"--showformat={form}", "--", package])
        return parse_query(ended.stdout)

    def dpkg_status(self) -> str:
        """Return the state of all packages, as dpkg has it."""
        return (self.root / "var/lib/dpkg/status").read_text()

    def files(self) -> Mapping[str, tuple[int, int]]:
        """Return time and size of each file, so that any change shows."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            stat = path.lstat()
            found[str(path)] = (stat.st_mtime_ns, stat.st_size)
        return found

    def _run(
        self,
        argv: list[str],
        path: str | None = None,
        variables: Mapping[str, Path] | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        programs = f"{self.root / 'programs'}:{os.environ['PATH']}"
        return subprocess.run(
            argv,
            env={
                "APT_CONFIG": str(self.root / "apt.conf"),
                "PATH": programs if path is None else path,
                **{name: str(value) for name, value in (variables or {}).items()},
            },
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    def _moved(self, program: str, *, is_short: bool = False) -> str:
        replaced = {path: path.replace("/", f"{self.root}/", 1) for path in _MOVED}
        # The environment that the program drops names the root and the stub programs.
        replaced[program.partition("\n")[0]] = "#!/bin/sh"
        # What may be configured is in the root too.
        replaced["CONFIGURED='/etc "] = f"CONFIGURED='{self.root}/etc "
        replaced["/etc/ssh'"] = f"{self.root}/etc/ssh'"
        replaced["PATIENCE=60 "] = "PATIENCE=1 "
        replaced["for pause in 0.1 0.5 2 0"] = "for pause in 0 0 0 0"
        replaced["for pause in 0.1 0.2 0.5 1 2 3 0"] = "for pause in 0 0"
        # dpkg's paths are relative to the root.
        replaced["| xargs "] = f"| sed 's|^|{self.root}|' | xargs "
        for old, new in replaced.items():
            assert is_short or old in program, f"relight-host has no {old} any more"
            program = program.replace(old, new)
        return program


def _read_answer(folder: Path, number: int) -> Answer:
    def text(kind: str) -> str:
        return (folder / f"{number}.{kind}").read_text(encoding="utf-8", errors="replace")

    trace = text("trace") if (folder / f"{number}.trace").exists() else ""
    return Answer(int(text("code")), text("out"), text("err"), trace)


class Snapshots:
    """Named states of a host: each is prepared once, and restored for each test that needs it."""

    def __init__(self, host: AptRoot) -> None:
        """Take a snapshot of the host as it is now; every other state is prepared from it."""
        self._root = host.root
        self._folder = host.root.with_name(f"{host.root.name}-snapshots")
        self._save("initial")

    def restore(self, name: str = "initial", prepare: Callable[[], None] | None = None) -> None:
        """Bring the host to a state.

        Args:
            name: of the state.
            prepare: brings the initial host to this state; called once.
        """
        saved = self._folder / name
        exists = saved.exists()
        shutil.rmtree(self._root)
        shutil.copytree(saved if exists else self._folder / "initial", self._root, symlinks=True)
        if not exists:
            assert prepare is not None
            prepare()
            self._save(name)

    def _save(self, name: str) -> None:
        shutil.copytree(self._root, self._folder / name, symlinks=True)
