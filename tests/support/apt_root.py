"""A root of its own for the real apt and dpkg: what they change on a host, and nothing of this one.

In it the real `relight-host` works, with its paths moved into the root. Packages in it must have
no maintainer scripts: dpkg would run them in that root, where no shell is.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relight.domain.release import DebFile
from relight.hosts import host_program
from relight.hosts.dpkg import PackageState, parse_query
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
    "usr/bin",
    "log",
    "programs",
)
_MOVED = (
    "/etc/apt/apt.conf",
    "/etc/relight/host",
    "/run/relight",
    "/etc/systemd/system/$UNIT",
    "/run/systemd/system/$UNIT",
    "/var/lib/dpkg/updates",
    "/var/lib/relight/first-boot",
    "/var/log/cloud-init-output.log",
    "/var/tmp",
)


@dataclass
class AptRoot:
    """The files of a host, as far as apt, dpkg and `relight-host` care for them."""

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
        self.program.write_text(self._moved(host_program.text().decode()))
        self.program.chmod(0o755)
        self.configure()

    @property
    def program(self) -> Path:
        return self.root / "relight-host"

    @property
    def executable(self) -> Path:
        """The file that the daemon's process should run."""
        return self.root / "usr/bin" / PACKAGE

    @property
    def loaded(self) -> Path:
        """The record of the unit files that systemd has read."""
        return self.root / "run/relight/loaded"

    def configure(self, deb_urls: str = "") -> None:
        """Say what the program is about, and where it may fetch packages from."""
        told = host_program.configuration(PACKAGE, UNIT, str(self.executable), deb_urls)
        (self.root / "etc/relight/host").write_text(told)

    def read_from(self, url: str, key: bytes, source: str = host_program.SOURCES_FILE) -> None:
        """Name a repository, and the binary key that it is signed with."""
        file = self.root / "etc/apt" / source
        file.with_suffix(".gpg").write_bytes(key)
        file.write_text(
            f"Types: deb\nURIs: {url}\nSuites: {SUITE}\nComponents: {COMPONENT}\n"
            f"Signed-By: {file.with_suffix('.gpg')}\n"
        )

    def put_program(self, name: str, script: str) -> None:
        """Put a program where a shell finds it first."""
        file = self.root / "programs" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, script: str) -> tuple[int, str]:
        """Run a script as root would, and return its exit code and what it wrote."""
        ended = self._run(["/bin/sh", "-c", script])
        return ended.returncode, ended.stdout + ended.stderr

    def call(self, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        """Call the program as sudo does, with these words."""
        return self._run([str(self.program), *words], path)

    def install(
        self, version: str, leave: str = "upgrade", deb: DebFile | None = None
    ) -> tuple[int, str]:
        """Install a version, and return the exit code and all that was written."""
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

    def files(self) -> Mapping[str, tuple[int, int]]:
        """Return all that there is, so that any change shows."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            stat = path.lstat()
            found[str(path)] = (stat.st_mtime_ns, stat.st_size)
        return found

    def _run(self, argv: list[str], path: str | None = None) -> subprocess.CompletedProcess[str]:
        programs = f"{self.root / 'programs'}:{os.environ['PATH']}"
        return subprocess.run(
            argv,
            env={
                "APT_CONFIG": str(self.root / "apt.conf"),
                "PATH": programs if path is None else path,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    def _moved(self, program: str) -> str:
        replaced = {path: f"{self.root}{path}" for path in _MOVED}
        replaced["DPkg::Lock::Timeout=60"] = "DPkg::Lock::Timeout=1"
        # The paths that dpkg knows are those inside.
        replaced["| xargs "] = f"| sed 's|^|{self.root}|' | xargs "
        for old, new in replaced.items():
            assert old in program, f"relight-host has no {old} any more"
            program = program.replace(old, new)
        return program
