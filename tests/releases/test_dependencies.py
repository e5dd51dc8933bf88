"""What a release's real .deb depends on, and what its signed repository offers besides."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from relight.domain.image.fit import ReleaseNeeds, why_unfit
from relight.domain.image.image import ImageManifest
from relight.releases.apt_repository import AptRepository
from relight.releases.dependencies import control_of, parse_dependencies
from relight.releases.errors import RepositoryError, RepositoryUnavailableError
from relight.releases.local_directory import LocalDirectory
from relight.releases.source import AptSourceConfig, open_source
from relight.releases.versions import compare
from tests.releases.conftest import Sign
from tests.store.images import manifest
from tests.support.apt_repository import COMPONENT, PACKAGE, SUITE, Repository, Served, serve
from tests.support.debs import build_deb, deb

DEPENDS = "libc6 (>= 2.34), nftables (<< 2) | iptables, python3:any, \n wireguard-tools"
NAMES = [["libc6 (>= 2.34)"], ["nftables (<< 2)", "iptables"], ["python3"], ["wireguard-tools"]]


def built(folder: Path, depends: str, **fields: str) -> bytes:
    file = folder / "box_0.0.74_amd64.deb"
    build_deb(file, PACKAGE, "0.0.74", "amd64", depends=depends, fields=fields)
    return file.read_bytes()


async def chunks(content: bytes, size: int) -> AsyncGenerator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def depends_of(content: bytes, size: int = 1000) -> list[list[str]]:
    control = await control_of(chunks(content, size))
    return [[str(each) for each in choice] for choice in parse_dependencies(control.depends)]


@pytest.mark.parametrize("size", [1, 7, 512, 1_000_000])
async def test_a_debs_dependencies_are_read_from_its_beginning(tmp_path: Path, size: int) -> None:
    assert await depends_of(built(tmp_path, DEPENDS), size) == NAMES


async def test_no_more_of_a_deb_is_read_than_that_needs() -> None:
    content = deb(PACKAGE, "0.0.74", "amd64", content="x" * 200_000)
    read: list[int] = []

    async def counted() -> AsyncGenerator[bytes]:
        async for chunk in chunks(content, 4096):
            read.append(len(chunk))
            yield chunk

    async with aclosing(counted()) as stream:
        assert parse_dependencies((await control_of(stream)).depends) == ()
    assert sum(read) < len(content) // 2


async def test_what_has_to_be_there_before_it_is_unpacked_counts(tmp_path: Path) -> None:
    content = built(tmp_path, "libc6", **{"Pre-Depends": "init-system-helpers (>= 1.54~)"})
    assert await depends_of(content) == [["libc6"], ["init-system-helpers (>= 1.54~)"]]


async def test_what_is_only_recommended_does_not_count(tmp_path: Path) -> None:
    content = built(tmp_path, "", Recommends="curl", Suggests="jq", Conflicts="snapd")
    assert await depends_of(content) == []


@pytest.mark.parametrize(
    ("depends", "held"),
    [
        ("libc6 (> 2.36)", True),
        ("libc6 (< 2.36)", True),
        ("libc6 (> 2.37)", False),
        ("libc6 (< 2.35)", False),
    ],
)
async def test_the_old_relations_mean_what_dpkg_takes_them_for(
    tmp_path: Path, depends: str, held: bool
) -> None:
    needs = ReleaseNeeds(
        tag="v0.0.74",
        dependencies=parse_dependencies(
            (await control_of(chunks(built(tmp_path, depends), 1000))).depends
        ),
    )
    image = manifest("base-1-amd64", packages={"libc6": "2.36"})
    assert (why_unfit(image, [needs], compare) is None) is held


async def test_a_deb_that_ends_too_early_or_is_none_is_named(tmp_path: Path) -> None:
    content = built(tmp_path, DEPENDS)
    for end in (0, 8, 100, 300):
        with pytest.raises(RepositoryUnavailableError, match="ends before its control file"):
            await control_of(chunks(content[:end], 50))
    with pytest.raises(RepositoryError, match="not a Debian package"):
        await control_of(chunks(b"<html>" * 100, 50))


# What a source offers besides.


@pytest.fixture
def family(tmp_path: Path, sign: Sign) -> Repository:
    repository = Repository(tmp_path / "family")
    repository.add("0.0.74", depends="box-tools (= 0.0.74), wireguard-tools")
    repository.add("0.0.74", package="box-tools")
    repository.add("1.0", "all", package="box-data")
    repository.add("2.0", "arm64", package="box-arm")
    repository.publish(sign)
    return repository


def names(*more: str) -> frozenset[str]:
    return frozenset((PACKAGE, "box-tools", "box-data", *more))


def config(served: Served, key_file: Path) -> AptSourceConfig:
    return AptSourceConfig(served.url, SUITE, COMPONENT, key_file)


async def test_an_apt_repository_offers_what_is_in_it_for_the_architecture(
    family: Repository, key_file: Path
) -> None:
    with serve(family.root) as served:
        source = open_source(config(served, key_file), PACKAGE)
        assert isinstance(source, AptRepository)
        assert await source.packages("amd64") == names()
        assert await source.packages("arm64") == {"box-data", "box-arm"}
        await source.close()


async def test_several_repositories_offer_what_each_of_them_has(
    family: Repository, served: Served, key_file: Path
) -> None:
    with serve(family.root) as second:
        several = replace(config(served, key_file), more=(config(second, key_file),))
        source = open_source(several, PACKAGE)
        assert await source.packages("amd64") == names("another-service")
        await source.close()


async def test_an_index_that_is_not_the_signed_one_offers_nothing(
    family: Repository, key_file: Path
) -> None:
    for ending in ("", ".gz", ".xz"):
        index = family.index("amd64", ending)
        index.write_bytes(index.read_bytes() + b"\nPackage: wireguard-tools\n")
    with serve(family.root) as served:
        source = open_source(config(served, key_file), PACKAGE)
        with pytest.raises(RepositoryError, match=served.url):
            await source.packages("amd64")
        await source.close()


async def test_a_release_of_a_repository_fits_an_image_that_has_the_rest(
    family: Repository, key_file: Path
) -> None:
    with serve(family.root) as served:
        source = open_source(config(served, key_file), PACKAGE)
        release = await source.resolve("v0.0.74", ["amd64"])
        deb_file = release.deb_file("amd64")
        assert deb_file is not None
        async with aclosing(source.download(release, deb_file)) as content:
            control = await control_of(content)
        needs = ReleaseNeeds(
            tag=release.tag,
            dependencies=parse_dependencies(control.depends),
            offered=await source.packages("amd64"),
        )
        await source.close()
    assert why_unfit(_image("wireguard-tools"), [needs], compare) is None
    why = why_unfit(_image("nftables"), [needs], compare)
    assert why is not None
    assert "depends on: wireguard-tools;" in why


def _image(*packages: str) -> ImageManifest:
    return manifest("base-1-amd64", packages=dict.fromkeys(packages, "1.0"))


async def test_a_folder_of_debs_offers_nothing_besides(tmp_path: Path) -> None:
    build_deb(tmp_path / "box_0.0.74_amd64.deb", PACKAGE, "0.0.74", "amd64")
    build_deb(tmp_path / "tools_1_amd64.deb", "box-tools", "1", "amd64")
    assert await LocalDirectory(tmp_path, PACKAGE).packages("amd64") == frozenset()
