"""What a tag means in a fleet, while a real signed repository gets other packages."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from activities.pinned_releases import PinnedReleases
from relight.domain.release import Release
from relight.releases.apt_repository import AptRepository
from relight.releases.errors import ReleaseRebuiltError, ReleaseUnknownError
from relight.releases.package_files import PackageFiles
from relight.store.store import Store
from tests.store import fleets
from tests.support.apt_repository import COMPONENT, PACKAGE, SUITE, Repository, key_ring, serve
from tests.support.contract_hosts import new_store

TAG, FIRST, SECOND = "v0.0.76", "0.0.76-1", "0.0.76-2"


class Fleet:
    """A store, and a repository that a test publishes to."""

    def __init__(self, repository: Repository, source: AptRepository, store: Store, sign) -> None:
        self.repository, self.source, self.store, self._sign = repository, source, store, sign
        self.releases = PinnedReleases(source, store)

    def publish(self, *versions: str, content: str = "", depends: str = "") -> None:
        for version in versions:
            for architecture in ("amd64", "arm64"):
                files = {"/usr/share/content": content}
                self.repository.add(version, architecture, files=files, depends=depends)
        self.repository.publish(self._sign)

    async def resolved(
        self, tag: str = TAG, *architectures: str, for_rollout: bool = False
    ) -> Release:
        """Resolve a tag as the activity does, and record it."""
        release = await self.releases.resolve(
            tag, architectures or ("amd64",), for_rollout=for_rollout
        )
        self.store.releases.save(release)
        return release

    def run(self, tag: str = TAG) -> None:
        """Let a route run a release."""
        fleets.declare_tracks(self.store)
        fleets.serve(self.store)
        self.store.routes.record_proof(fleets.proving(tag=tag), fleets.run_on().activity())


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    with key_ring() as keys, new_store() as store:
        user = keys.make("repository")
        (tmp_path / "key.asc").write_bytes(keys.public(user, armoured=True))
        repository = Repository(tmp_path / "apt")
        with serve(repository.root) as served:
            source = AptRepository(
                url=served.url,
                suite=SUITE,
                component=COMPONENT,
                package=PACKAGE,
                signing_key=tmp_path / "key.asc",
            )
            yield Fleet(repository, source, store, partial(keys.sign, users=[user]))
            await source.close()


async def test_the_release_that_runs_stays_the_one_it_is_when_a_new_revision_appears(
    fleet: Fleet,
) -> None:
    fleet.publish(FIRST)
    first = await fleet.resolved()
    fleet.run()
    fleet.publish(SECOND)
    assert await fleet.resolved() == first
    assert await fleet.resolved(for_rollout=True) == first
    both = await fleet.resolved(TAG, "amd64", "arm64")
    assert (both.version, both.architectures) == (FIRST, ("amd64", "arm64"))
    newest = await fleet.resolved(SECOND)
    assert (newest.tag, newest.version) == (SECOND, SECOND)
    assert fleet.store.releases.version(TAG) == FIRST


async def test_a_tag_that_nothing_names_is_its_newest_revision(fleet: Fleet) -> None:
    fleet.publish(FIRST)
    assert (await fleet.resolved()).version == FIRST
    fleet.publish(SECOND)
    assert (await fleet.resolved(for_rollout=True)).version == SECOND


async def test_a_revision_that_is_gone_is_an_error_with_the_newest(fleet: Fleet) -> None:
    fleet.publish(FIRST)
    await fleet.resolved()
    fleet.run()
    fleet.repository.withdraw(FIRST)
    fleet.publish(SECOND)
    with pytest.raises(ReleaseUnknownError, match=f"is {FIRST} in this fleet: .*start {SECOND}`"):
        await fleet.resolved()


async def keep(fleet: Fleet, release: Release, folder: Path) -> PackageFiles:
    files = PackageFiles(folder, max_files=9, max_bytes=10**6)
    for deb_file in release.deb_files:
        await files.add(deb_file, fleet.source.download(release, deb_file))
    fleet.releases = PinnedReleases(fleet.source, fleet.store, files)
    return files


async def test_a_revision_that_is_gone_is_brought_if_it_was_kept(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.publish(FIRST)
    first = await fleet.resolved()
    fleet.run()
    await keep(fleet, first, tmp_path / "packages")
    fleet.repository.withdraw(FIRST)
    fleet.publish(SECOND)
    kept = await fleet.resolved()
    assert (kept.version, kept.deb_files[0].is_pushed) == (FIRST, True)
    assert kept.deb_files[0].sha256 == first.deb_files[0].sha256
    with pytest.raises(ReleaseUnknownError):
        await fleet.resolved(TAG, "arm64")
    # Once the repository has it again, hosts get it from there.
    fleet.publish(FIRST)
    again = await fleet.resolved()
    assert again.version == FIRST


async def test_a_kept_package_that_is_locked_to_others_does_not_stand_for_its_release(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.publish(FIRST, depends=f"libc6, lantern-tools (= {FIRST})")
    first = await fleet.resolved()
    fleet.run()
    await keep(fleet, first, tmp_path / "packages")
    fleet.repository.withdraw(FIRST)
    fleet.publish(SECOND)
    with pytest.raises(ReleaseUnknownError):
        await fleet.resolved()


async def test_other_content_under_a_version_needs_a_rollout(fleet: Fleet) -> None:
    fleet.publish(FIRST, content="a")
    first = await fleet.resolved()
    fleet.run()
    fleet.publish(FIRST, content="b")
    with pytest.raises(ReleaseRebuiltError, match=f"rollout start {TAG}` rolls that content out"):
        await fleet.resolved()
    rebuilt = await fleet.resolved(for_rollout=True)
    assert rebuilt.version == first.version
    assert rebuilt.deb_files[0].sha256 != first.deb_files[0].sha256
    assert await fleet.resolved() == rebuilt
