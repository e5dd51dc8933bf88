"""Releases are kept as last resolved."""

from relight.domain.release import DebFile, Release
from tests.store.sql import execute, naming


def release(tag: str, *architectures: str, size_bytes: int = 1) -> Release:
    version = tag.removeprefix("v")
    return Release(
        tag=tag,
        version=version,
        package="lantern-box",
        source="https://packages.test stable",
        deb_files=tuple(
            DebFile(
                architecture=architecture,
                filename=f"pool/lantern-box_{version}_{architecture}.deb",
                sha256="0" * 64,
                size_bytes=size_bytes,
            )
            for architecture in architectures
        ),
    )


def test_a_release_is_read_as_saved(store):
    # Larger than a 32-bit number.
    saved = release("v0.0.74", "amd64", "arm64", size_bytes=5 * 1024**3)
    store.releases.save(saved)
    store.releases.save(saved)
    assert store.releases.get("v0.0.74") == saved
    assert store.releases.get("v0.0.75") is None


def test_saving_again_replaces_a_release(store):
    store.releases.save(release("v0.0.74", "amd64", "armhf"))
    now = release("v0.0.74", "amd64", "arm64", size_bytes=7)
    store.releases.save(now)
    assert store.releases.list() == [now]


def test_releases_are_listed_in_the_order_in_which_they_were_first_resolved(store):
    for tag in ("v0.0.9", "v0.0.10", "v0.0.9"):
        store.releases.save(release(tag, "amd64"))
    assert [found.tag for found in store.releases.list()] == ["v0.0.9", "v0.0.10"]


def test_an_invalid_release_is_named(store, store_url):
    store.releases.save(release("v0.0.74"))
    execute(store_url, "UPDATE releases SET tag = 'newest'")
    with naming("release newest: tag"):
        assert store.releases.list() == []
