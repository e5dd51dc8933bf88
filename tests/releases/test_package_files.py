"""Packages that the control plane keeps, from a folder and from a private repository."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from relight.domain.release import DebFile, Release
from relight.releases.errors import (
    ReleaseUnknownError,
    RepositoryError,
    RepositoryUnavailableError,
)
from relight.releases.github_releases import GitHubReleases
from relight.releases.local_directory import LocalDirectory
from relight.releases.package_files import PackageFiles
from tests.releases.conftest import MakeSource
from tests.support.debs import build_deb, deb
from tests.support.fake_github import REPOSITORY, FakeGitHub, fake_github


def file_of(content: bytes, **changed: object) -> DebFile:
    fields = {
        "architecture": "amd64",
        "filename": "pushed:made.deb",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
    return DebFile.model_validate(fields | changed)


async def pieces(*contents: bytes) -> AsyncIterator[bytes]:
    for content in contents:
        yield content


async def read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_a_package_is_kept_by_its_digest(tmp_path: Path) -> None:
    files = PackageFiles(tmp_path / "packages", max_files=2, max_bytes=100)
    deb_file = file_of(b"one two")
    assert files.find(deb_file) is None
    kept = await files.add(deb_file, pieces(b"one ", b"two"))
    assert files.find(deb_file) == kept
    assert kept.read_bytes() == b"one two"


@pytest.mark.parametrize(("max_files", "max_bytes"), [(2, 1000), (9, 20)])
async def test_what_was_not_used_for_longest_is_deleted(
    tmp_path: Path, max_files: int, max_bytes: int
) -> None:
    files = PackageFiles(tmp_path, max_files, max_bytes)
    contents = [b"%d" % number * 10 for number in range(3)]
    for number, content in enumerate(contents):
        kept = await files.add(file_of(content), pieces(content))
        os.utime(kept, (number, number))
        assert files.find(file_of(contents[0]))  # used again
    assert files.find(file_of(contents[1])) is None
    assert files.find(file_of(contents[2]))
    large = b"x" * 50
    await files.add(file_of(large), pieces(large))
    assert files.find(file_of(large))


@pytest.mark.parametrize("content", [b"", b"one tw", b"one two x", b"two one"])
async def test_other_content_is_not_kept(tmp_path: Path, content: bytes) -> None:
    files = PackageFiles(tmp_path, max_files=2, max_bytes=100)
    with pytest.raises(RepositoryUnavailableError, match="differs"):
        await files.add(file_of(b"one two"), pieces(content))
    assert not any(map(files.find, [file_of(b"one two"), file_of(content)]))


async def test_a_package_that_no_host_takes_is_refused(tmp_path: Path) -> None:
    files = PackageFiles(tmp_path, max_files=2, max_bytes=100)
    with pytest.raises(RepositoryError, match="may have 999999999"):
        await files.add(file_of(b"x", size_bytes=10**9), pieces(b"x"))


# ---------------------------------------------------------------- a folder


async def test_a_folder_has_the_releases_of_its_packages(tmp_path: Path) -> None:
    for name, version, architecture in (
        ("a.deb", "0.0.74-1", "amd64"),
        ("b.deb", "0.0.74-1", "arm64"),
        ("c.deb", "5:0.0.73", "all"),
    ):
        build_deb(tmp_path / name, "lantern-box", version, architecture)
    build_deb(tmp_path / "other.deb", "other", "1", "amd64")
    (tmp_path / "junk.deb").write_bytes(b"<html>")
    (tmp_path / "README").write_text("nothing")
    source = LocalDirectory(tmp_path, "lantern-box")
    assert [each.version for each in (await source.list_releases()).releases] == [
        "0.0.74-1",
        "5:0.0.73",
    ]
    release = await source.resolve("v0.0.74", ["amd64", "arm64"])
    [amd64, _] = release.deb_files
    assert amd64.is_pushed
    assert not amd64.by_apt
    content = (tmp_path / "a.deb").read_bytes()
    assert amd64.sha256 == hashlib.sha256(content).hexdigest()
    assert await read(source.download(release, amd64)) == content
    with pytest.raises(ReleaseUnknownError, match="riscv64"):
        await source.resolve("v0.0.74", ["riscv64"])
    assert (await source.resolve("v0.0.73", ["riscv64"])).deb_file("riscv64")
    # A file that was replaced is another one.
    build_deb(tmp_path / "a.deb", "lantern-box", "0.0.74-2", "amd64")
    assert (await source.resolve("v0.0.74", ["amd64"])).version == "0.0.74-2"
    (tmp_path / "a.deb").unlink()
    with pytest.raises(RepositoryUnavailableError, match=r"a\.deb"):
        await read(source.download(release, amd64))


async def test_a_file_that_is_no_package_is_told(tmp_path: Path) -> None:
    (tmp_path / "junk.deb").write_bytes(b"<html>")
    listed = await LocalDirectory(tmp_path, "lantern-box").list_releases()
    [left_out] = listed.left_out
    assert (left_out.name, left_out.unread) == ("junk.deb", False)
    assert "not a Debian package" in left_out.reason


@pytest.mark.parametrize("missing", ["one byte", "data", "half", "all but magic", "all"])
async def test_a_file_that_is_being_copied_is_no_release_yet(tmp_path: Path, missing: str) -> None:
    build_deb(tmp_path / "a.deb", "lantern-box", "0.0.73", "amd64")
    build_deb(tmp_path / "b", "lantern-box", "0.0.74", "amd64", files={"/usr/share/box": "x" * 999})
    content = (tmp_path / "b").read_bytes()
    size_bytes = {
        "one byte": len(content) - 1,
        "data": content.index(b"data.tar"),
        "half": len(content) // 2,
        "all but magic": 8,
        "all": 0,
    }[missing]
    source = LocalDirectory(tmp_path, "lantern-box")
    with (tmp_path / "b.deb").open("wb", buffering=0) as copied:
        copied.write(content[:size_bytes])
        listed = await source.list_releases()
        assert [each.version for each in listed.releases] == ["0.0.73"]
        [left_out] = listed.left_out
        assert (left_out.name, left_out.unread) == ("b.deb", True)
        assert "not whole" in left_out.reason
        with pytest.raises(ReleaseUnknownError, match=r"b\.deb \(it is not whole"):
            await source.resolve("v0.0.74", ["amd64"])
        copied.write(content[size_bytes:])
    release = await source.resolve("v0.0.74", ["amd64"])
    assert release.deb_files[0].sha256 == hashlib.sha256(content).hexdigest()
    assert (await source.list_releases()).left_out == ()


async def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    source, file = LocalDirectory(tmp_path, "lantern-box"), tmp_path / "a.deb"
    build_deb(tmp_path / "kept.deb", "lantern-box", "0.0.1", "amd64")
    for version in ("0.0.73", "0.0.74", "0.0.75"):
        build_deb(file, "lantern-box", version, "amd64")
        await source.list_releases()
        file.unlink()
    await source.list_releases()
    assert [name for name, *_ in source._known] == ["kept.deb"]


async def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="cannot be read"):
        await LocalDirectory(tmp_path / "none", "lantern-box").list_releases()


# ---------------------------------------------------------------- repositories


async def test_a_package_is_downloaded_from_an_apt_repository(make_source: MakeSource) -> None:
    source = make_source()
    release = await source.resolve("v0.0.74", ["amd64"])
    content = await read(source.download(release, release.deb_files[0]))
    assert hashlib.sha256(content).hexdigest() == release.deb_files[0].sha256


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with fake_github() as github:
        github.private_token = "Bearer squirrel"
        made = github.release("v0.0.74")
        content = deb("lantern-box", "0.0.74", "amd64")
        github.attach(made, "lantern-box_0.0.74_linux_amd64.deb", content)
        yield github


def private(github: FakeGitHub) -> GitHubReleases:
    return GitHubReleases(
        repository=REPOSITORY,
        package="lantern-box",
        api_url=github.url,
        token=SecretStr("squirrel"),
        cache_time=timedelta(0),
        private=True,
    )


async def resolved(source: GitHubReleases) -> Release:
    return await source.resolve("v0.0.74", ["amd64"])


async def test_a_private_package_is_downloaded_with_the_token_and_brought_to_hosts(
    github: FakeGitHub, tmp_path: Path
) -> None:
    source = private(github)
    release = await resolved(source)
    [deb_file] = release.deb_files
    assert deb_file.filename == "pushed:lantern-box_0.0.74_linux_amd64.deb"
    assert deb_file.url is None
    assert "squirrel" not in release.model_dump_json()
    files = PackageFiles(tmp_path, max_files=2, max_bytes=10**6)
    kept = await files.add(deb_file, source.download(release, deb_file))
    assert kept.read_bytes() == deb("lantern-box", "0.0.74", "amd64")
    # The storage that the API redirects to never sees the token.
    elsewhere = [each.token for each in github.requests if each.path.startswith("/storage/")]
    assert elsewhere
    assert set(elsewhere) == {None}
    github.releases[0]["assets"].clear()
    with pytest.raises(ReleaseUnknownError, match="any more"):
        await read(source.download(release, deb_file))
    await source.close()


async def test_the_token_goes_to_no_other_address(github: FakeGitHub) -> None:
    github.releases[0]["assets"][0]["url"] = "http://127.0.0.1:1/asset"
    source = private(github)
    with pytest.raises(ReleaseUnknownError, match=f"not at {github.url}"):
        await resolved(source)
    await source.close()
