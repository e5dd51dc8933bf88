"""A real signed repository as a source of releases."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relight.domain.release import DebFile
from relight.releases.apt_repository import AptRepository
from relight.releases.errors import ReleaseUnknownError
from tests.releases.conftest import MakeSource, Sign
from tests.support.apt_repository import (
    COMPONENT,
    SUITE,
    KeyRing,
    Repository,
    Served,
)


async def test_a_tag_is_its_exact_version_with_a_file_for_each_architecture(
    source: AptRepository, repository: Repository, served: Served
) -> None:
    release = await source.resolve("v0.0.74", ["amd64", "arm64"])
    assert (release.tag, release.version, release.package) == ("v0.0.74", "0.0.74", "lantern-box")
    assert release.source == f"{served.url} {SUITE} {COMPONENT}"
    assert release.architectures == ("amd64", "arm64")
    for deb_file in release.deb_files:
        content = (repository.root / deb_file.filename).read_bytes()
        assert deb_file == DebFile(
            architecture=deb_file.architecture,
            filename=f"pool/main/lantern-box_0.0.74_{deb_file.architecture}.deb",
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
        )


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v0.0.73", "0.0.73"),
        ("v0.0.75", "0.0.75-1"),
        ("v1.2.0", "1.2.0"),
        ("v1.2.0-rc.1", "1.2.0~rc.1"),
        ("v0.0.5", "1:0.0.5-1"),
    ],
)
async def test_a_tag_is_one_version(source: AptRepository, tag: str, version: str) -> None:
    assert (await source.resolve(tag, ["amd64"])).version == version


@pytest.mark.parametrize("version", ["0.0.74-1", "0.0.76-1", "1:0.0.5-1", "2026.11", "1.2.0~rc.1"])
async def test_an_exact_version_is_that_version(source: AptRepository, version: str) -> None:
    release = await source.resolve(version, ["amd64"])
    assert (release.tag, release.version) == (version, version)
    with pytest.raises(ReleaseUnknownError, match=r"there is no lantern-box 0\.0\.7 in "):
        await source.resolve("0.0.7", ["amd64"])


async def test_a_tag_of_several_revisions_is_the_newest(source: AptRepository) -> None:
    assert (await source.resolve("v0.0.76", ["amd64"])).version == "0.0.76-2"


async def test_an_unknown_tag_is_an_error_with_the_newest_versions(
    source: AptRepository, served: Served
) -> None:
    with pytest.raises(ReleaseUnknownError) as caught:
        await source.resolve("v0.0.99", [])
    for text in ("v0.0.99", "lantern-box 0.0.99", served.url, "1:0.0.5-1, 2026.11, 1.2.0"):
        assert text in str(caught.value)
    assert not caught.value.retryable


async def test_a_missing_package_is_an_error(make_source: MakeSource) -> None:
    with pytest.raises(ReleaseUnknownError, match=r"no-such.*there are no versions"):
        await make_source(package="no-such").resolve("v0.0.74", [])


async def test_other_packages_of_the_repository_are_ignored(
    make_source: MakeSource,
) -> None:
    release = await make_source(package="another-service").resolve("v0.0.99", ["amd64"])
    assert [deb_file.filename for deb_file in release.deb_files] == [
        "pool/main/another-service_0.0.99_amd64.deb"
    ]


async def test_a_missing_architecture_is_an_error_that_names_it(
    source: AptRepository,
) -> None:
    with pytest.raises(ReleaseUnknownError, match=r"for arm64, riscv64; it has it for amd64"):
        await source.resolve("v1.2.0-rc.1", ["riscv64", "amd64", "arm64"])


async def test_a_package_for_all_architectures_serves_each(source: AptRepository) -> None:
    release = await source.resolve("v1.2.0", ["amd64", "arm64"])
    assert release.architectures == ("amd64", "arm64")
    assert {deb_file.filename for deb_file in release.deb_files} == {
        "pool/main/lantern-box_1.2.0_all.deb"
    }
    with pytest.raises(ReleaseUnknownError, match="riscv64"):
        await source.resolve("v1.2.0", ["riscv64"])


async def test_an_index_for_all_architectures_serves_those_without_one(
    source: AptRepository, repository: Repository, sign: Sign
) -> None:
    repository.architectures = ("all", "amd64")
    repository.publish(sign)
    release = await source.resolve("v1.2.0", ["riscv64"])
    assert release.architectures == ("amd64", "riscv64")


async def test_all_releases_are_listed_newest_last(source: AptRepository) -> None:
    releases = (await source.list_releases()).releases
    assert [(release.tag, release.version) for release in releases] == [
        ("v0.0.72", "0.0.72"),
        ("v0.0.73", "0.0.73"),
        ("v0.0.74", "0.0.74"),
        ("0.0.74-1", "0.0.74-1"),
        ("v0.0.75", "0.0.75-1"),
        ("0.0.76-1", "0.0.76-1"),
        ("v0.0.76", "0.0.76-2"),
        ("v1.2.0-rc.1", "1.2.0~rc.1"),
        ("v1.2.0", "1.2.0"),
        ("v2026.11", "2026.11"),
        ("v0.0.5", "1:0.0.5-1"),
    ]
    for release in releases:
        assert await source.resolve(release.tag, release.architectures) == release


@pytest.mark.parametrize("endings", [("",), (".gz",), ("", ".gz", ".xz")])
@pytest.mark.parametrize("by_hash", [False, True])
async def test_indices_are_read_in_every_compression(
    source: AptRepository,
    repository: Repository,
    served: Served,
    sign: Sign,
    endings: tuple[str, ...],
    by_hash: bool,
) -> None:
    repository.publish(sign, endings=endings, by_hash=by_hash)
    assert (await source.resolve("v0.0.74", ["arm64"])).version == "0.0.74"
    by_hash_paths = [path for path in served.requests if "/by-hash/SHA256/" in path]
    assert len(by_hash_paths) == (1 if by_hash else 0)
    assert served.count(f"Packages{endings[-1]}") == (0 if by_hash else 1)


async def test_by_hash_reads_the_old_index_while_the_next_is_published(
    source: AptRepository, repository: Repository, sign: Sign
) -> None:
    repository.publish(sign, by_hash=True)
    for ending in ("", ".gz", ".xz"):
        repository.index("amd64", ending).write_bytes(b"the next one")
    assert (await source.resolve("v0.0.74", ["amd64"])).version == "0.0.74"


@pytest.mark.parametrize("armoured", [True, False])
async def test_the_key_may_be_armoured_or_binary(
    make_source: MakeSource, keys: KeyRing, key: str, tmp_path: Path, armoured: bool
) -> None:
    file = tmp_path / "key"
    file.write_bytes(keys.public(key, armoured=armoured))
    assert (await make_source(signing_key=file).list_releases()).releases


async def test_two_armoured_keys_of_a_file_are_read(
    make_source: MakeSource, keys: KeyRing, key: str, other_key: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_bytes(keys.public(other_key, armoured=True) + keys.public(key, armoured=True))
    fingerprint = keys.fingerprint(key)
    assert (await make_source(signing_key=file, fingerprint=fingerprint).list_releases()).releases


async def test_one_of_two_signatures_is_sufficient(
    source: AptRepository, repository: Repository, keys: KeyRing, key: str, other_key: str
) -> None:
    repository.publish(lambda text: keys.sign(text, [other_key, key]))
    assert (await source.list_releases()).releases


async def test_an_index_that_has_not_expired_and_a_clock_slightly_ahead_are_accepted(
    source: AptRepository, repository: Repository, sign: Sign
) -> None:
    now = datetime.now(UTC)
    ahead, later = now + timedelta(seconds=30), now + timedelta(hours=1)
    repository.publish(sign, date=ahead, valid_until=later)
    assert (await source.list_releases()).releases


async def test_a_redirect_is_followed(
    source: AptRepository, repository: Repository, served: Served
) -> None:
    elsewhere = repository.root / "elsewhere" / "InRelease"
    elsewhere.parent.mkdir()
    repository.signed.rename(elsewhere)
    served.answers[f"/dists/{SUITE}/InRelease"] = (302, b"/elsewhere/InRelease")
    assert (await source.list_releases()).releases


async def test_a_hundred_requests_read_the_indices_once(
    source: AptRepository, served: Served
) -> None:
    for _ in range(100):
        await source.resolve("v0.0.74", ["amd64"])
    assert served.count("InRelease") == 100
    assert served.count("Packages.xz") == 1


async def test_a_hundred_concurrent_requests_share_one_read(
    source: AptRepository, served: Served
) -> None:
    served.gate.clear()
    requests = [asyncio.create_task(source.resolve("v0.0.74", ["amd64"])) for _ in range(100)]
    await asyncio.sleep(0)
    served.gate.set()
    assert len({release.version for release in await asyncio.gather(*requests)}) == 1
    assert len(served.requests) == 2


async def test_the_next_request_reads_a_new_index(
    source: AptRepository, repository: Repository, sign: Sign
) -> None:
    with pytest.raises(ReleaseUnknownError):
        await source.resolve("v0.0.80", ["amd64"])
    repository.add("0.0.80")
    repository.publish(sign)
    assert (await source.resolve("v0.0.80", ["amd64"])).version == "0.0.80"


async def test_a_cancelled_request_does_not_cancel_the_shared_read(
    source: AptRepository, served: Served
) -> None:
    served.gate.clear()
    cancelled_request = asyncio.create_task(source.list_releases())
    other_request = asyncio.create_task(source.list_releases())
    await asyncio.sleep(0)
    cancelled_request.cancel()
    await asyncio.wait([cancelled_request])
    assert cancelled_request.cancelled()
    served.gate.set()
    assert (await other_request).releases


async def test_closing_cancels_a_running_read(make_source: MakeSource, served: Served) -> None:
    source = make_source(client=None)
    served.gate.clear()
    request = asyncio.create_task(source.list_releases())
    await asyncio.sleep(0)
    await source.close()
    with pytest.raises(asyncio.CancelledError):
        await request
