"""A host with the real apt in a root folder of its own, and the two repositories that it reads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from relight.hosts.apt import Diagnosis, diagnose
from tests.support.apt_repository import PACKAGE, KeyRing, Repository, Served, key_ring, serve
from tests.support.apt_root import AptRoot, Snapshots

OTHERS = "sources.list.d/debian.sources"


@dataclass
class AptHost:
    """A host, its two repositories and what serves them.

    Attributes:
        root: the host.
        ours: Relight's repository; `others`: the host's own.
    """

    root: AptRoot
    snapshots: Snapshots
    keys: KeyRing
    key: str
    ours: Repository
    others: Repository
    ours_served: Served
    others_served: Served

    def publish(self) -> None:
        """Write and sign the indexes of both repositories."""
        for repository in (self.ours, self.others):
            repository.publish(partial(self.keys.sign, users=[self.key]))

    def reads_others(self) -> None:
        """Give the host its own source, as a fresh cloud image has it: without any list."""
        self.root.read_from(self.others_served.url, self.keys.public(self.key), OTHERS)

    def succeed(self, version: str, direction: str = "upgrade") -> str:
        """Install a version, and return the output."""
        code, output = self.root.install(version, direction)
        assert code == 0, output
        assert self.root.state().is_installed(version), output
        return output

    def fail(self, version: str, direction: str = "upgrade") -> Diagnosis:
        """Return the reason for which a version is not installed, and nothing else is either."""
        before = self.root.dpkg_status()
        code, output = self.root.install(version, direction)
        assert code == 100, output
        assert self.root.dpkg_status() == before
        return diagnose(output, PACKAGE)

    def versions(self, *packages: str) -> list[str]:
        """Return the versions of installed packages; empty for one that is not installed."""
        states = [self.root.state(package) for package in packages]
        return [state.version if state.status == "ii" else "" for state in states]


@contextmanager
def apt_host(folder: Path, fill: Callable[[Repository, Repository], None]) -> Iterator[AptHost]:
    """Build a host without any package.

    Args:
        folder: for all files.
        fill: adds packages to Relight's repository and to the host's own.
    """
    ours, others = (Repository(folder / name, ("amd64",)) for name in ("ours", "others"))
    for repository in (ours, others):
        (repository.root / "pool/main").mkdir(parents=True)
    fill(ours, others)
    with key_ring() as keys, serve(ours.root) as first, serve(others.root) as second:
        root = AptRoot(folder / "host")
        key = keys.make("repository")
        root.read_from(first.url, keys.public(key))
        host = AptHost(root, Snapshots(root), keys, key, ours, others, first, second)
        host.publish()
        yield host
