"""Releases: a tag is resolved to an exact version, and a release to the file for one host."""

from activities import policies
from activities.delivery import PackageDelivery
from activities.pinned_releases import PinnedReleases
from relight.domain.release import Release, ResolveReleaseInput, rebuilt_architectures
from relight.engine.step import step
from relight.store.store import Store
from relight.store.threads import in_thread


class ReleaseActivities:
    """Resolves releases in the repository and saves them in the store."""

    def __init__(
        self,
        repository: PinnedReleases,
        store: Store,
        delivery: PackageDelivery | None = None,
    ) -> None:
        self._repository = repository
        self._store = store
        self._delivery = delivery

    @step(policies.LOOKUP, lambda i: i.tag)
    async def resolve_release(self, input: ResolveReleaseInput) -> Release:
        """Return the release of a tag; refuse it if it lacks one of the architectures.

        From then on the tag means this release, as long as a machine or a rollout names it.
        """
        release = await self._repository.resolve(
            input.tag, input.architectures, for_rollout=input.for_rollout
        )
        if not await in_thread(self._is_rebuilt, release):  # a rollout's claim saves it then
            await in_thread(self._store.releases.save, release)
        if self._delivery is not None:
            self._delivery.keep(release)
        return release

    def _is_rebuilt(self, release: Release) -> bool:
        known = self._store.releases.pinned(release.tag)
        return known is not None and bool(rebuilt_architectures(known, release))
