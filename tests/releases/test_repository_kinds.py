"""Kinds of apt repositories: flat ones, large ones, and those that are refused in words."""

import asyncio
import hashlib
import lzma
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path

import pytest

from relight.releases.errors import ReleaseUnknownError, RepositoryError
from tests.releases.conftest import MakeSource, Sign
from tests.support.apt_repository import Repository, Served, serve
from tests.support.debs import build_deb

PACKAGES = 60_000
"""As many as Debian's main has for one architecture."""


def apt_ftparchive(folder: Path, *words: str) -> bytes:
    argv = ["apt-ftparchive", *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, check=True).stdout


@pytest.fixture
def flat(tmp_path: Path, sign: Sign) -> Path:
    """A folder with packages and their index, as `deb URL ./` reads it."""
    folder = tmp_path / "flat" / "debian"
    folder.mkdir(parents=True)
    for version, architecture in (("0.0.74-1", "amd64"), ("0.0.74-1", "arm64"), ("0.0.73", "all")):
        name = f"lantern-box-{version}.{architecture}.deb"
        build_deb(folder / name, "lantern-box", version, architecture)
    build_deb(folder / "other.deb", "other", "1", "amd64")
    publish(folder, sign)
    return folder


def publish(folder: Path, sign: Sign) -> None:
    (folder / "Packages").write_bytes(apt_ftparchive(folder, "packages", "."))
    (folder / "InRelease").unlink(missing_ok=True)
    (folder / "InRelease").write_bytes(sign(apt_ftparchive(folder, "release", ".")))


@pytest.mark.parametrize(("below", "suite"), [("debian", "./"), ("", "debian/"), ("", "./debian/")])
async def test_a_flat_repository_has_releases(
    make_source: MakeSource, flat: Path, below: str, suite: str
) -> None:
    with serve(flat.parent) as served:
        url = f"{served.url}/{below}".rstrip("/")
        source = make_source(url=url, suite=suite, component="")
        release = await source.resolve("v0.0.74", ["amd64"])
        assert release.version == "0.0.74-1"
        assert release.source == f"{url} {suite}"
        [amd64] = [each for each in release.deb_files if each.architecture == "amd64"]
        content = (flat / "lantern-box-0.0.74-1.amd64.deb").read_bytes()
        assert amd64.sha256 == hashlib.sha256(content).hexdigest()
        assert (await source.resolve("0.0.73", ["riscv64"])).architectures[-1] == "riscv64"
        with pytest.raises(ReleaseUnknownError, match="for riscv64; it has it for amd64, arm64"):
            await source.resolve("v0.0.74", ["riscv64"])
        listed = [each.version for each in (await source.list_releases()).releases]
        assert listed == ["0.0.73", "0.0.74-1"]


async def test_only_the_requested_architectures_are_read(
    make_source: MakeSource, served: Served
) -> None:
    source = make_source()
    assert (await source.resolve("v0.0.74", ["arm64"])).architectures == ("arm64",)
    assert [path for path in served.requests if "Packages" in path] == [
        "/dists/stable/main/binary-arm64/Packages.xz"
    ]
    assert (await source.resolve("v0.0.74", ["amd64", "arm64"])).architectures == ("amd64", "arm64")
    assert served.count("Packages.xz") == 2


async def test_a_fleet_of_other_architectures_reads_those(
    make_source: MakeSource, served: Served
) -> None:
    await make_source(architectures=["arm64"]).list_releases()
    assert served.count("binary-arm64/Packages.xz") == 1
    assert served.count("binary-amd64/Packages.xz") == 0
    assert (await make_source(architectures=["riscv64"]).list_releases()).releases


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"url": "file:///srv/apt"}, "over http and https"),
        ({"url": "mirror+http://a.example/list"}, "over http and https"),
        ({"url": "cdrom:[Debian]/"}, "over http and https"),
        ({"suite": "./"}, "404"),
    ],
)
async def test_an_unsupported_address_is_refused_in_words(
    make_source: MakeSource, changed: dict[str, str], expected: str
) -> None:
    with pytest.raises(RepositoryError, match=expected):
        await make_source(**changed).list_releases()


@pytest.mark.parametrize("signature", [True, False])
async def test_a_repository_without_inrelease_is_refused_in_words(
    make_source: MakeSource, repository: Repository, signature: bool
) -> None:
    repository.signed.rename(repository.suite / "Release")
    if signature:
        (repository.suite / "Release.gpg").write_bytes(b"signature")
    with pytest.raises(RepositoryError, match=r"Release and no InRelease.*old format") as caught:
        await make_source().list_releases()
    assert not caught.value.retryable


async def test_an_index_in_an_unsupported_compression_is_refused_in_words(
    make_source: MakeSource, repository: Repository, sign: Sign
) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    text = (
        f"Date: {formatdate(usegmt=True)}\nArchitectures: amd64 arm64\nComponents: main\n"
        f"SHA256:\n {digest} 0 main/binary-amd64/Packages.lz4\n"
    )
    repository.signed.write_bytes(sign(text.encode()))
    with pytest.raises(RepositoryError, match=r"unsupported compression: .*Packages\.lz4"):
        await make_source().list_releases()


MEASURED = """
import asyncio, re, sys, time
from pathlib import Path
from relight.releases.apt_repository import AptRepository

async def resolve():
    source = AptRepository(
        url=sys.argv[1], suite="stable", component="main", package="lantern-box",
        signing_key=Path(sys.argv[2]),
    )
    release = await source.resolve("v0.0.74", ["amd64"])
    await source.close()
    # Not ru_maxrss, which counts the process that forked this one as well.
    peak_kib = re.search("VmHWM: *\\t* *([0-9]+)", Path("/proc/self/status").read_text())[1]
    print(release.version, peak_kib, time.process_time() - started)

started = time.process_time()
asyncio.run(resolve())
"""


def entry(number: int) -> str:
    """An entry of the size of Debian's, which names the package somewhere else."""
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return (
        f"Package: package-{number}\nVersion: 1.{number}-1\nArchitecture: amd64\n"
        f"Depends: libc6 (>= 2.36), lantern-box, {digest}\nDescription: {digest * 2}\n"
        f"Filename: pool/main/p/package-{number}_1.{number}-1_amd64.deb\nSize: {number}\n"
        f"Tag: {digest[:40]}, {digest[20:]}\nSHA256: {digest}\n\n"
    )


async def test_a_suite_of_debians_size_takes_little_time_and_memory(
    repository: Repository, sign: Sign, served: Served, key_file: Path
) -> None:
    text = "".join(map(entry, range(PACKAGES))).encode()
    for architecture in ("amd64", "arm64"):
        index = repository.index(architecture)
        ours = index.read_bytes()
        half = text.index(b"Package: package-30000\n")
        for ending in ("", ".gz"):
            index.with_name(f"Packages{ending}").unlink()
        packed = lzma.compress(text[:half] + ours + b"\n" + text[half:], preset=0)
        index.with_name("Packages.xz").write_bytes(packed)
    repository.signed.unlink()
    fields = ["-o", "APT::FTPArchive::Release::Components=main"]
    fields += ["-o", "APT::FTPArchive::Release::Architectures=amd64 arm64"]
    repository.signed.write_bytes(
        sign(apt_ftparchive(repository.root, *fields, "release", "dists/stable"))
    )
    argv = [sys.executable, "-c", MEASURED, served.url, str(key_file)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    version, peak_kib, cpu_s = output.split()
    assert version == b"0.0.74"
    assert int(peak_kib) < 200 * 1024
    # Of the processor: a busy machine takes longer.
    assert float(cpu_s) < 3
