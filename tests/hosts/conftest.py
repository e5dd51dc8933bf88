"""A host for `relight-host serve`: the real apt and dpkg, a stub systemd, and served packages."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from relight.domain.release import DebFile
from tests.support.apt_repository import Repository, Served, serve
from tests.support.apt_root import UNIT, AptRoot, Snapshots
from tests.support.stub_systemd import StubSystemd

UNIT_FILE = f"/lib/systemd/system/{UNIT}"

# The unit files of each version. The newest by number is not the newest by time.
VERSIONS = {
    "1.0": {UNIT_FILE: "one", "/usr/share/x": "1.0"},
    "1.1": {UNIT_FILE: "one", "/usr/share/x": "1.1"},
    "2.0": {UNIT_FILE: "two"},
    "2.1": {UNIT_FILE: "two", f"{UNIT_FILE}.d/more.conf": "more"},
    "2.2": {UNIT_FILE: "two", f"{UNIT_FILE}.d/more.conf": "other"},
    "3.0": {f"/usr{UNIT_FILE}": "three"},
    "3.1": {f"/usr{UNIT_FILE}": "three, too"},
    "4.0": {f"/etc/systemd/system/{UNIT}": "four"},
    "4.1": {f"/etc/systemd/system/{UNIT}": "four, too"},
    "5.0": {"/lib/systemd/system/lantern\\x2dbox it's.service": "five"},
    "5.1": {"/lib/systemd/system/lantern\\x2dbox it's.service": "five, too"},
    "6.0": {"/usr/share/lib/systemd/system/no.service": "six"},
    "6.1": {"/usr/share/lib/systemd/system/no.service": "six, too"},
}


class ServingHost:
    """A host on which packages are installed from a server, and served by a stub systemd."""

    def __init__(self, host: AptRoot, served: Served) -> None:
        host.configure(deb_urls=f"{served.url}/")
        self.host = host
        self.systemd = StubSystemd(host)
        self._served = served
        self._snapshots = Snapshots(host)

    def reset(self) -> None:
        """Bring the host to its initial state, without a package."""
        self._snapshots.restore()

    def start_at(self, version: str) -> None:
        """Bring the host to the state after a swap from nothing to a version."""
        self._snapshots.restore(f"at-{version}", lambda: self._swapped(version))

    def start_settled(self) -> None:
        """Bring the host to version 1.0, installed again, so that no unit file has to be read."""
        self._snapshots.restore("settled", self._settled)

    def deb(self, version: str) -> DebFile:
        name = f"lantern-box_{version}_amd64.deb"
        content = (self._served.root / name).read_bytes()
        return DebFile(
            filename=f"{self._served.url}/{name}",
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            architecture="amd64",
        )

    def install(self, version: str) -> None:
        code, output = self.host.install(version, "rollback", self.deb(version))
        assert code == 0, output

    def serve(self) -> list[str]:
        """Serve, and return the commands that changed something in systemd."""
        self.systemd.calls()
        ended = self.host.call("serve")
        assert (ended.returncode, ended.stderr) == (0, "")
        return self.systemd.effects()

    def serve_fails(self) -> str:
        """Fail to serve with exit code 90, and return standard error."""
        ended = self.host.call("serve")
        assert ended.returncode == 90
        return ended.stderr

    def swap(self, version: str) -> list[str]:
        """Install and serve; return the commands that changed something in systemd."""
        self.systemd.calls()
        self.install(version)
        assert self.systemd.effects() == []  # install only reads from systemd
        commands = self.serve()
        assert not self.host.loaded.exists()
        return commands

    def _swapped(self, version: str) -> None:
        self.swap(version)

    def _settled(self) -> None:
        self.swap("1.0")
        self.install("1.0")
        self.systemd.calls()


@pytest.fixture(scope="session")
def serving_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingHost]:
    repository = Repository(tmp_path_factory.mktemp("files"))
    for version, files in VERSIONS.items():
        repository.add(version, files=files)
    with serve(repository.root / "pool/main") as served:
        yield ServingHost(AptRoot(tmp_path_factory.mktemp("serving") / "host"), served)


@pytest.fixture
def serving(serving_host: ServingHost) -> ServingHost:
    serving_host.reset()
    return serving_host


@pytest.fixture
def settled(serving_host: ServingHost) -> ServingHost:
    serving_host.start_settled()
    return serving_host


@pytest.fixture
def process(settled: ServingHost) -> Iterator[int]:
    """The id of a process that runs the service's file."""
    shutil.copy("/usr/bin/sleep", settled.host.executable)
    with subprocess.Popen([settled.host.executable, "600"]) as process:
        yield process.pid
        process.kill()
