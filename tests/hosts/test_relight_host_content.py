"""The digest of what `relight-host install` has installed, and how an observation reads it back."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.domain.release import DebFile
from relight.hosts import host_program
from relight.hosts.observation import parse
from tests.support.apt_host import AptHost, apt_host
from tests.support.apt_repository import COMPONENT, PACKAGE, Repository
from tests.support.stub_systemd import StubSystemd

OLD, NEW = "1:0.0.73-1", "1:0.0.74-1"
FILE = "/usr/share/lantern-box/file"


def fill(ours: Repository, others: Repository) -> None:
    for version in (OLD, NEW):
        ours.add(version, files={FILE: version})
    others.add("1.0", package="nothing")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[AptHost]:
    with apt_host(tmp_path, fill) as host:
        yield host


def deb(host: AptHost, version: str) -> Path:
    name = f"{PACKAGE}_{version.partition(':')[2]}_amd64.deb"
    return host.ours.root / "pool" / COMPONENT / name


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def observed(host: AptHost) -> str:
    """Return the digest in an observation."""
    if not (host.root.root / "systemd").exists():
        StubSystemd(host.root)
    ended = host.root.call(*host_program.observe()[1:])
    assert ended.returncode == 0, ended.stderr
    return parse(ended.stdout).sha256


def test_each_change_records_what_it_installed(host: AptHost) -> None:
    assert observed(host) == ""
    for version, direction in ((OLD, "upgrade"), (NEW, "upgrade"), (OLD, "rollback")):
        host.succeed(version, direction)
        assert observed(host) == sha256(deb(host, version))
    # Nothing is installed, and the record stays.
    host.succeed(OLD)
    assert observed(host) == sha256(deb(host, OLD))


def test_a_host_that_keeps_no_archives_records_what_its_source_lists(host: AptHost) -> None:
    archives = host.root.root / "var/cache/apt/archives"
    hook = f'DPkg::Post-Invoke {{"rm -f {archives}/*.deb";}};'
    (host.root.root / "etc/apt/apt.conf.d/docker-clean").write_text(hook)
    host.succeed(NEW)
    assert not list(archives.glob("*.deb"))
    assert observed(host) == sha256(deb(host, NEW))


def test_a_digest_that_nobody_knows_is_recorded_as_unknown(host: AptHost) -> None:
    archives = host.root.root / "var/cache/apt/archives"
    hook = f'DPkg::Post-Invoke {{"rm -f {archives}/*.deb";}};'
    (host.root.root / "etc/apt/apt.conf.d/docker-clean").write_text(hook)
    host.root.put_program(
        "apt-cache", 'case $* in *show*) exit 100 ;; esac; exec /usr/bin/apt-cache "$@"'
    )
    host.succeed(NEW)
    assert observed(host) == ""
    assert "1 reinstalled" not in host.succeed(NEW)


@pytest.mark.parametrize("depends", ["", "nothing"])
def test_the_same_version_with_other_content_is_installed_again(
    host: AptHost, depends: str
) -> None:
    host.reads_others()
    host.succeed(NEW)
    first = sha256(deb(host, NEW))
    host.ours.add(NEW, files={FILE: "rebuilt"}, depends=depends)
    host.publish()
    host.succeed(NEW)
    assert (host.root.root / FILE.lstrip("/")).read_text() == "rebuilt"
    assert observed(host) == sha256(deb(host, NEW)) != first


def test_a_version_without_a_record_is_installed_again_once(host: AptHost) -> None:
    """As on a host that was set up before there were records."""
    host.succeed(NEW)
    other = host.others.add(NEW, files={FILE: "other content"})
    assert host.root.run(f"dpkg --install {other}")[0] == 0
    (host.root.root / "var/lib/relight/installed").unlink()
    host.succeed(NEW)
    assert (host.root.root / FILE.lstrip("/")).read_text() == NEW
    assert observed(host) == sha256(deb(host, NEW))
    assert "1 reinstalled" not in host.succeed(NEW)


def test_what_another_program_installs_is_unknown(host: AptHost) -> None:
    host.succeed(NEW)
    other = host.others.add(NEW, files={FILE: "other content"})
    assert host.root.run(f"dpkg --install {other}")[0] == 0
    assert observed(host) == ""
    host.succeed(NEW)


@pytest.mark.parametrize("depends", ["", "nothing"])
def test_a_file_by_its_url_is_recorded_by_its_digest_and_installed_again_with_another(
    host: AptHost, depends: str
) -> None:
    host.reads_others()
    host.root.configure(deb_urls=f"{host.ours_served.url}/")

    def install() -> None:
        file = deb(host, NEW)
        asked = DebFile(
            architecture="amd64",
            filename=f"{host.ours_served.url}/pool/main/{file.name}",
            sha256=sha256(file),
            size_bytes=file.stat().st_size,
        )
        code, output = host.root.install(NEW, deb=asked)
        assert code == 0, output
        assert observed(host) == sha256(file)

    install()
    host.ours.add(NEW, files={FILE: "rebuilt"}, depends=depends)
    install()
    assert (host.root.root / FILE.lstrip("/")).read_text() == "rebuilt"
