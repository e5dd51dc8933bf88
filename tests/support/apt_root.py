"""A root of its own for the real apt and dpkg: what they change on a host, and nothing of this one.

Packages in it must have no maintainer scripts: dpkg would run them in that root, where no shell is.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from remote import dpkg
from remote.apt import SOURCES_FILE
from remote.dpkg import PackageState, parse_query
from tests.support.apt_repository import COMPONENT, PACKAGE, SUITE

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
    "etc/apt/apt.conf.d",
    "etc/apt/preferences.d",
    "etc/apt/trusted.gpg.d",
    "etc/apt/sources.list.d",
    "log",
    "programs",
)


@dataclass
class AptRoot:
    """The files of a host, as far as apt and dpkg care for them."""

    root: Path

    def __post_init__(self) -> None:
        for folder in _FOLDERS:
            (self.root / folder).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "apt.conf").write_text(_CONFIGURATION.format(root=self.root))

    def read_from(self, url: str, key: bytes, source: str = SOURCES_FILE) -> None:
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
        """Run a script as systemd does, and return its exit code and what it wrote."""
        ended = subprocess.run(
            ["/bin/sh", "-c", script],
            env={
                "APT_CONFIG": str(self.root / "apt.conf"),
                "PATH": f"{self.root / 'programs'}:{os.environ['PATH']}",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout

    def hold(self, package: str) -> None:
        argv = ["dpkg", f"--root={self.root}", "--force-not-root", "--set-selections"]
        subprocess.run(argv, input=f"{package} hold\n", text=True, check=True)

    def state(self, package: str = PACKAGE) -> PackageState:
        program, *rest = dpkg.query(package)
        argv = [program, f"--admindir={self.root / 'var/lib/dpkg'}", *rest]
        ended = subprocess.run(argv, capture_output=True, text=True, check=False)
        return parse_query(ended.stdout)
