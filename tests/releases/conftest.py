"""A signed repository, built once for all tests of this folder, and copied for each test."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from relight.releases.apt_repository import AptRepository
from tests.support.apt_repository import (
    COMPONENT,
    PACKAGE,
    SUITE,
    KeyRing,
    Repository,
    Served,
    key_ring,
    serve,
)

VERSIONS = ("0.0.72", "0.0.73", "0.0.74", "0.0.74-1", "0.0.75-1", "0.0.76-1", "0.0.76-2")

Sign = Callable[[bytes], bytes]
MakeSource = Callable[..., AptRepository]


@pytest.fixture(scope="session")
def keys() -> Iterator[KeyRing]:
    with key_ring() as keys:
        yield keys


@pytest.fixture(scope="session")
def key(keys: KeyRing) -> str:
    return keys.make("repository")


@pytest.fixture(scope="session")
def other_key(keys: KeyRing) -> str:
    return keys.make("somebody-else")


@pytest.fixture(scope="session")
def sign(keys: KeyRing, key: str) -> Sign:
    return partial(keys.sign, users=[key])


@pytest.fixture(scope="session")
def key_file(keys: KeyRing, key: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "repository.asc"
    file.write_bytes(keys.public(key, armoured=True))
    return file


@pytest.fixture(scope="session")
def published(sign: Sign, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The original, which no test changes: see `repository`."""
    repository = Repository(tmp_path_factory.mktemp("apt") / "repository")
    for version in VERSIONS:
        repository.add(version, "amd64")
        repository.add(version, "arm64")
    repository.add("1.2.0~rc.1", "amd64")
    repository.add("1.2.0", "all")
    repository.add("1:0.0.5-1", "amd64")
    repository.add("2026.11", "amd64")
    repository.add("0.0.99", "amd64", package="another-service")
    repository.publish(sign)
    return repository


@pytest.fixture
def repository(published: Repository, tmp_path: Path) -> Repository:
    """A copy that the test may change."""
    return published.copy(tmp_path / "repository")


@pytest.fixture
def served(repository: Repository) -> Iterator[Served]:
    with serve(repository.root) as served:
        yield served


@pytest.fixture
async def make_source(served: Served, key_file: Path) -> AsyncIterator[MakeSource]:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        sources: list[AptRepository] = []

        def make(**changed: object) -> AptRepository:
            arguments: dict[str, object] = {
                "url": served.url,
                "suite": SUITE,
                "component": COMPONENT,
                "package": PACKAGE,
                "signing_key": key_file,
                "client": client,
            }
            sources.append(AptRepository(**(arguments | changed)))  # type: ignore[arg-type]
            return sources[-1]

        yield make
        for source in sources:
            await source.close()


@pytest.fixture
def source(make_source: MakeSource) -> AptRepository:
    return make_source()
