"""A .deb that a host fetches by itself: really fetched and installed, by the real curl and apt."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES
from relight.domain.release import DebFile
from relight.hosts.apt import ONCE_MORE, diagnose
from relight.hosts.dpkg import ABSENT, installed_exactly
from relight.hosts.host_program import Change
from tests.support.apt_repository import (
    PACKAGE,
    Repository,
    Served,
    serve,
)
from tests.support.apt_root import AptRoot

OLD, NEW = "0.0.73", "0.0.74"
FILE = "/usr/share/lantern-box/file"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = Repository(tmp_path_factory.mktemp("files"))
    for version in (OLD, NEW):
        repository.add(version, files={FILE: version})
    repository.add("0.0.75", "all")
    repository.add("0.0.76", depends="libdaemon")
    repository.add("0.0.77", depends="no-such-thing")
    repository.add(NEW, "arm64")
    repository.add(NEW, package="another-daemon")
    repository.add("1.0", package="libdaemon")
    return repository.root / "pool/main"


@pytest.fixture
def served(pool: Path) -> Iterator[Served]:
    with serve(pool) as served:
        yield served


@pytest.fixture
def host(served: Served, tmp_path: Path) -> Iterator[AptRoot]:
    host = AptRoot(tmp_path / "host")
    host.configure(deb_urls=f"{served.url}/")
    yield host
    assert list((host.root / "var/tmp").iterdir()) == []  # whatever happened, nothing is left


class Source(NamedTuple):
    served: Served

    def deb(self, name: str, **changed: object) -> DebFile:
        content = (self.served.root / name).read_bytes()
        said: dict[str, object] = {
            "filename": f"{self.served.url}/{name}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "architecture": "amd64",
        }
        return DebFile(**(said | changed))


@pytest.fixture
def source(served: Served) -> Source:
    return Source(served)


def name(version: str, architecture: str = "amd64", package: str = PACKAGE) -> str:
    return f"{package}_{version}_{architecture}.deb"


def succeed(host: AptRoot, version: str, deb: DebFile, leave: str = "upgrade") -> str:
    code, said = host.install(version, leave, deb)
    assert code == 0, said
    assert installed_exactly(host.state(), version)
    return said


def fail(host: AptRoot, version: str, deb: DebFile) -> tuple[str, str]:
    """Fail as apt does and change nothing; return the kind and the line that says it."""
    before = host.state()
    code, said = host.install(version, deb=deb)
    assert code == 100, said
    assert host.state() == before
    return diagnose(said, PACKAGE)


def test_the_file_is_installed_upgraded_and_installed_again(host: AptRoot, source: Source) -> None:
    succeed(host, OLD, source.deb(name(OLD)))
    succeed(host, NEW, source.deb(name(NEW)))
    assert "0 newly installed" in succeed(host, NEW, source.deb(name(NEW)))


def test_a_file_for_all_architectures_serves_each(host: AptRoot, source: Source) -> None:
    succeed(host, "0.0.75", source.deb(name("0.0.75", "all")))


def test_a_redirect_is_followed(host: AptRoot, source: Source, served: Served) -> None:
    served.answers["/latest"] = (302, f"{served.url}/{name(NEW)}".encode())
    succeed(host, NEW, source.deb(name(NEW), filename=f"{served.url}/latest"))


def test_an_older_version_takes_its_place_only_with_leave(host: AptRoot, source: Source) -> None:
    succeed(host, NEW, source.deb(name(NEW)))
    assert fail(host, OLD, source.deb(name(OLD)))[0] == "downgrade-refused"
    succeed(host, OLD, source.deb(name(OLD)), "rollback")


def test_what_an_operator_holds_is_left_alone(host: AptRoot, source: Source) -> None:
    succeed(host, OLD, source.deb(name(OLD)))
    host.hold(PACKAGE)
    assert fail(host, NEW, source.deb(name(NEW)))[0] == "packages-held"


@pytest.mark.parametrize("there", [True, False])
def test_another_digest_than_the_resolved_one_changes_nothing(
    host: AptRoot, source: Source, there: bool
) -> None:
    if there:
        succeed(host, OLD, source.deb(name(OLD)))
    kind, text = fail(host, NEW, source.deb(name(NEW), sha256="0" * 64))
    assert kind == "repository-inconsistent"
    assert name(NEW) in text
    assert "another SHA-256 than 0000" in text


def test_a_file_that_was_changed_since_is_not_installed(
    host: AptRoot, source: Source, served: Served
) -> None:
    deb = source.deb(name(NEW))
    served.answers[f"/{name(NEW)}"] = (200, (served.root / name(OLD)).read_bytes())
    assert fail(host, NEW, deb)[0] == "repository-inconsistent"


@pytest.mark.parametrize(
    ("other", "holds"),
    [
        (name(OLD), f"{PACKAGE} {OLD} amd64"),
        (name(NEW, package="another-daemon"), f"another-daemon {NEW} amd64"),
        (name(NEW, "arm64"), f"{PACKAGE} {NEW} arm64"),
    ],
)
def test_a_file_that_holds_another_package_changes_nothing(
    host: AptRoot, source: Source, other: str, holds: str
) -> None:
    kind, text = fail(host, NEW, source.deb(other))
    assert kind == "repository-inconsistent"
    assert text.endswith(f"is not {PACKAGE} {NEW} amd64, but {holds}")


def test_a_file_that_is_no_package_changes_nothing(
    host: AptRoot, source: Source, served: Served
) -> None:
    page = b"<html>Please log in</html>"
    served.answers["/page"] = (200, page)
    deb = DebFile(
        filename=f"{served.url}/page",
        sha256=hashlib.sha256(page).hexdigest(),
        size_bytes=len(page),
        architecture="amd64",
    )
    assert fail(host, NEW, deb)[0] == "repository-inconsistent"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, "repository-inconsistent"),
        (410, "repository-inconsistent"),
        (403, "repository-unreachable"),
        (503, "repository-unreachable"),
    ],
)
def test_a_file_that_cannot_be_fetched_changes_nothing(
    host: AptRoot, source: Source, served: Served, status: int, kind: str
) -> None:
    served.answers[f"/{name(NEW)}"] = (status, b"no")
    found, text = fail(host, NEW, source.deb(name(NEW)))
    assert found == kind
    assert str(status) in text
    assert f"{served.url}/{name(NEW)}" in text


def test_no_more_is_fetched_than_was_resolved(
    host: AptRoot, source: Source, served: Served
) -> None:
    deb = source.deb(name(NEW))
    served.answers[f"/{name(NEW)}"] = (200, b"x" * (deb.size_bytes + 1))
    kind, text = fail(host, NEW, deb)
    assert kind == "repository-inconsistent"
    assert text.startswith("curl: (63)")


def test_where_nobody_answers_nothing_changes(host: AptRoot, source: Source) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{held.getsockname()[1]}/x.deb"
        host.configure(deb_urls=url)
        assert fail(host, NEW, source.deb(name(NEW), filename=url))[0] == "repository-unreachable"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x.deb"])
def test_nothing_but_http_is_spoken(host: AptRoot, source: Source, url: str) -> None:
    host.configure(deb_urls=url)
    kind, text = fail(host, NEW, source.deb(name(NEW), filename=url))
    assert kind == "repository-unreachable"
    assert text.startswith("curl: (1)")


def test_a_redirect_to_a_file_of_the_host_is_not_followed(
    host: AptRoot, source: Source, served: Served
) -> None:
    served.answers["/x"] = (302, b"file:///etc/hostname")
    assert fail(host, NEW, source.deb(name(NEW), filename=f"{served.url}/x"))[0] == (
        "repository-unreachable"
    )


def test_a_full_disk_is_the_hosts_own_trouble(host: AptRoot, source: Source) -> None:
    host.put_program("curl", "echo 'curl: (23) Failure writing output to destination' >&2; exit 23")
    assert fail(host, NEW, source.deb(name(NEW)))[0] == "disk-full"


def test_a_certificate_that_does_not_hold_is_not_trusted(host: AptRoot, source: Source) -> None:
    host.put_program("curl", "echo 'curl: (60) SSL certificate problem' >&2; echo; exit 60")
    assert fail(host, NEW, source.deb(name(NEW)))[0] == "repository-untrusted"


def test_a_host_without_curl_says_so(host: AptRoot, source: Source) -> None:
    words = Change(NEW, deb=source.deb(name(NEW))).words()
    ended = host.call("install", *words, path="/nowhere")
    assert ended.returncode == 100
    assert diagnose(ended.stderr, PACKAGE) == (
        "apt-failed",
        "E: curl is not installed, by which packages are fetched",
    )


def test_no_source_is_asked_as_long_as_the_file_suffices(host: AptRoot, source: Source) -> None:
    host.read_from("http://127.0.0.1:1", b"", "sources.list.d/debian.sources")
    assert ONCE_MORE not in succeed(host, NEW, source.deb(name(NEW)))


def test_a_dependency_comes_from_the_machines_own_sources(
    host: AptRoot, source: Source, served: Served, tmp_path: Path
) -> None:
    packages = tmp_path / "machines"
    packages.mkdir()
    found = served.root / name("1.0", package="libdaemon")
    content = found.read_bytes()
    (packages / found.name).write_bytes(content)
    (packages / "Packages").write_text(
        f"Package: libdaemon\nVersion: 1.0\nArchitecture: amd64\nFilename: ./{found.name}\n"
        f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
    sources = host.root / "etc/apt/sources.list.d/machines.list"
    sources.write_text(f"deb [trusted=yes] file:{packages} ./\n")
    assert host.run("apt-get update")[0] == 0
    assert ONCE_MORE in succeed(host, "0.0.76", source.deb(name("0.0.76")))
    assert host.state("libdaemon").status == "ii"


def test_a_dependency_that_nobody_carries_is_the_releases_fault(
    host: AptRoot, source: Source
) -> None:
    assert fail(host, "0.0.77", source.deb(name("0.0.77")))[0] == "dependencies-missing"


def test_nothing_of_a_package_that_is_refused_was_ever_installed(
    host: AptRoot, source: Source
) -> None:
    fail(host, NEW, source.deb(name(NEW), sha256="f" * 64))
    assert host.state() == ABSENT


def test_every_refusal_is_the_repositorys_fault() -> None:
    for line in ("relight: refused: x", "curl: (6) Could not resolve host: x: http://x"):
        assert RULES[diagnose(line, PACKAGE).kind].fault_class is FaultClass.REPOSITORY


def test_a_curl_of_a_maintainer_script_is_not_taken_for_ours() -> None:
    said = "curl: (6) Could not resolve host: x\nE: Held packages were changed\n"
    assert diagnose(said, PACKAGE).kind == "packages-held"


def test_a_damaged_file_is_put_back_by_its_own_version(host: AptRoot, source: Source) -> None:
    succeed(host, NEW, source.deb(name(NEW)))
    file = host.root / FILE.lstrip("/")
    file.write_text("somebody's own")
    assert "1 reinstalled" in succeed(host, NEW, source.deb(name(NEW)))
    assert file.read_text() == NEW


def test_an_address_with_odd_letters_is_asked_for_as_it_is(
    host: AptRoot, source: Source, served: Served
) -> None:
    odd = "/a%27%3Bb{c}[1-2]&d=%2B+~.deb"
    served.answers["/a';b{c}[1-2]&d=++~.deb"] = (200, (served.root / name(NEW)).read_bytes())
    succeed(host, NEW, source.deb(name(NEW), filename=f"{served.url}{odd}"))
