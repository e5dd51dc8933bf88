"""`relight-host install` of a package by its URL, with the real curl and apt."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES
from relight.domain.release import DebFile
from relight.hosts.apt import RETRY_NOTICE, diagnose
from relight.hosts.host_program import Change
from relight.hosts.packages import ABSENT
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
    repository.add(NEW, package="another-service")
    repository.add("1.0", package="libdaemon")
    return repository.root / "pool/main"


@pytest.fixture(scope="module")
def server(pool: Path) -> Iterator[Served]:
    with serve(pool) as served:
        yield served


@pytest.fixture
def served(server: Served) -> Served:
    server.answers.clear()
    server.requests.clear()
    return server


@pytest.fixture
def host(served: Served, tmp_path: Path) -> Iterator[AptRoot]:
    host = AptRoot(tmp_path / "host")
    host.configure(deb_urls=f"{served.url}/")
    yield host
    assert list((host.root / "var/tmp").iterdir()) == []  # no temporary files are left


class Source(NamedTuple):
    served: Served

    def deb(self, name: str, **changed: object) -> DebFile:
        content = (self.served.root / name).read_bytes()
        fields: dict[str, object] = {
            "filename": f"{self.served.url}/{name}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "architecture": "amd64",
        }
        return DebFile(**(fields | changed))


@pytest.fixture
def source(served: Served) -> Source:
    return Source(served)


def name(version: str, architecture: str = "amd64", package: str = PACKAGE) -> str:
    return f"{package}_{version}_{architecture}.deb"


def succeed(host: AptRoot, version: str, deb: DebFile, direction: str = "upgrade") -> str:
    code, output = host.install(version, direction, deb)
    assert code == 0, output
    assert host.state().is_installed(version)
    return output


def fail(host: AptRoot, version: str, deb: DebFile) -> tuple[str, str]:
    """Fail as apt does and change nothing; return the fault kind and the reason."""
    before = host.state()
    code, output = host.install(version, deb=deb)
    assert code == 100, output
    assert host.state() == before
    return diagnose(output, PACKAGE)


def test_a_file_is_installed_upgraded_and_installed_again(host: AptRoot, source: Source) -> None:
    succeed(host, OLD, source.deb(name(OLD)))
    succeed(host, NEW, source.deb(name(NEW)))
    assert "0 newly installed" in succeed(host, NEW, source.deb(name(NEW)))


def test_a_file_for_all_architectures_is_installed(host: AptRoot, source: Source) -> None:
    succeed(host, "0.0.75", source.deb(name("0.0.75", "all")))


def test_a_redirect_is_followed(host: AptRoot, source: Source, served: Served) -> None:
    served.answers["/latest"] = (302, f"{served.url}/{name(NEW)}".encode())
    succeed(host, NEW, source.deb(name(NEW), filename=f"{served.url}/latest"))


def test_only_a_rollback_installs_an_older_version(host: AptRoot, source: Source) -> None:
    succeed(host, NEW, source.deb(name(NEW)))
    assert fail(host, OLD, source.deb(name(OLD)))[0] == "downgrade-refused"
    succeed(host, OLD, source.deb(name(OLD)), "rollback")


def test_a_held_package_is_not_changed(host: AptRoot, source: Source) -> None:
    succeed(host, OLD, source.deb(name(OLD)))
    host.hold(PACKAGE)
    assert fail(host, NEW, source.deb(name(NEW)))[0] == "packages-held"


@pytest.mark.parametrize("installed", [True, False])
def test_a_file_with_another_digest_is_refused(
    host: AptRoot, source: Source, installed: bool
) -> None:
    if installed:
        succeed(host, OLD, source.deb(name(OLD)))
    kind, text = fail(host, NEW, source.deb(name(NEW), sha256="0" * 64))
    assert kind == "repository-inconsistent"
    assert name(NEW) in text
    assert f"is not {'0' * 64}" in text


def test_a_file_that_changed_since_it_was_resolved_is_refused(
    host: AptRoot, source: Source, served: Served
) -> None:
    deb = source.deb(name(NEW))
    served.answers[f"/{name(NEW)}"] = (200, (served.root / name(OLD)).read_bytes())
    assert fail(host, NEW, deb)[0] == "repository-inconsistent"


@pytest.mark.parametrize(
    ("other", "content"),
    [
        (name(OLD), f"{PACKAGE} {OLD} amd64"),
        (name(NEW, package="another-service"), f"another-service {NEW} amd64"),
        (name(NEW, "arm64"), f"{PACKAGE} {NEW} arm64"),
    ],
)
def test_a_file_of_another_package_is_refused(
    host: AptRoot, source: Source, other: str, content: str
) -> None:
    kind, text = fail(host, NEW, source.deb(other))
    assert kind == "repository-inconsistent"
    assert text.endswith(f"is not {PACKAGE} {NEW} amd64, but {content}")


def test_a_file_that_is_not_a_package_is_refused(
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
def test_a_file_that_cannot_be_fetched_is_an_error(
    host: AptRoot, source: Source, served: Served, status: int, kind: str
) -> None:
    served.answers[f"/{name(NEW)}"] = (status, b"no")
    found, text = fail(host, NEW, source.deb(name(NEW)))
    assert found == kind
    assert str(status) in text
    assert f"{served.url}/{name(NEW)}" in text


def test_a_file_larger_than_resolved_is_refused(
    host: AptRoot, source: Source, served: Served
) -> None:
    deb = source.deb(name(NEW))
    served.answers[f"/{name(NEW)}"] = (200, b"x" * (deb.size_bytes + 1))
    kind, text = fail(host, NEW, deb)
    assert kind == "repository-inconsistent"
    assert text.startswith("curl: (63)")


def test_an_unreachable_server_is_an_error(host: AptRoot, source: Source) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # without listening
        url = f"http://127.0.0.1:{held.getsockname()[1]}/x.deb"
        host.configure(deb_urls=url)
        assert fail(host, NEW, source.deb(name(NEW), filename=url))[0] == "repository-unreachable"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x.deb"])
def test_only_http_is_used(host: AptRoot, source: Source, url: str) -> None:
    host.configure(deb_urls=url)
    kind, text = fail(host, NEW, source.deb(name(NEW), filename=url))
    assert kind == "repository-unreachable"
    assert text.startswith("curl: (1)")


def test_a_redirect_to_a_file_url_is_refused(host: AptRoot, source: Source, served: Served) -> None:
    served.answers["/x"] = (302, b"file:///etc/hostname")
    assert fail(host, NEW, source.deb(name(NEW), filename=f"{served.url}/x"))[0] == (
        "repository-unreachable"
    )


def test_a_full_disk_is_a_fault_of_the_host(host: AptRoot, source: Source) -> None:
    host.put_program("curl", "echo 'curl: (23) Failure writing output to destination' >&2; exit 23")
    assert fail(host, NEW, source.deb(name(NEW)))[0] == "disk-full"


def test_an_invalid_certificate_is_not_trusted(host: AptRoot, source: Source) -> None:
    host.put_program("curl", "echo 'curl: (60) SSL certificate problem' >&2; echo; exit 60")
    assert fail(host, NEW, source.deb(name(NEW)))[0] == "repository-untrusted"


def test_missing_curl_is_reported(host: AptRoot, source: Source) -> None:
    words = Change(NEW, deb=source.deb(name(NEW))).words()
    ended = host.call("install", *words, path="/nowhere")
    assert ended.returncode == 100
    assert diagnose(ended.stderr, PACKAGE) == (
        "apt-failed",
        "E: curl, which fetches packages, is not installed",
    )


def test_no_source_is_read_if_the_file_is_sufficient(host: AptRoot, source: Source) -> None:
    host.read_from("http://127.0.0.1:1", b"", "sources.list.d/debian.sources")
    assert RETRY_NOTICE not in succeed(host, NEW, source.deb(name(NEW)))


def test_a_dependency_is_installed_from_the_hosts_sources(
    host: AptRoot, source: Source, served: Served, tmp_path: Path
) -> None:
    packages = tmp_path / "others"
    packages.mkdir()
    found = served.root / name("1.0", package="libdaemon")
    content = found.read_bytes()
    (packages / found.name).write_bytes(content)
    (packages / "Packages").write_text(
        f"Package: libdaemon\nVersion: 1.0\nArchitecture: amd64\nFilename: ./{found.name}\n"
        f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
    sources = host.root / "etc/apt/sources.list.d/others.list"
    sources.write_text(f"deb [trusted=yes] file:{packages} ./\n")
    assert host.run("apt-get update")[0] == 0
    assert RETRY_NOTICE in succeed(host, "0.0.76", source.deb(name("0.0.76")))
    assert host.state("libdaemon").status == "ii"


def test_a_dependency_that_no_source_has_is_a_fault_of_the_release(
    host: AptRoot, source: Source
) -> None:
    assert fail(host, "0.0.77", source.deb(name("0.0.77")))[0] == "dependencies-missing"


def test_a_refused_package_is_not_known_to_dpkg(host: AptRoot, source: Source) -> None:
    fail(host, NEW, source.deb(name(NEW), sha256="f" * 64))
    assert host.state() == ABSENT


def test_every_refusal_is_a_fault_of_the_repository() -> None:
    for line in ("relight: refused: x", "curl: (6) Could not resolve host: x: http://x"):
        assert RULES[diagnose(line, PACKAGE).kind].fault_class is FaultClass.REPOSITORY


def test_curl_in_a_maintainer_script_is_not_the_reason() -> None:
    output = "curl: (6) Could not resolve host: x\nE: Held packages were changed\n"
    assert diagnose(output, PACKAGE).kind == "packages-held"


def test_a_damaged_file_is_restored_by_the_same_version(host: AptRoot, source: Source) -> None:
    succeed(host, NEW, source.deb(name(NEW)))
    file = host.root / FILE.lstrip("/")
    file.write_text("changed on the host")
    assert "1 reinstalled" in succeed(host, NEW, source.deb(name(NEW)))
    assert file.read_text() == NEW


def test_a_url_with_special_characters_is_requested_unchanged(
    host: AptRoot, source: Source, served: Served
) -> None:
    odd = "/a%27%3Bb{c}[1-2]&d=%2B+~.deb"
    served.answers["/a';b{c}[1-2]&d=++~.deb"] = (200, (served.root / name(NEW)).read_bytes())
    succeed(host, NEW, source.deb(name(NEW), filename=f"{served.url}{odd}"))
