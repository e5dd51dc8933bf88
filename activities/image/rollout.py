"""The preflight of a rollout of an image: nothing is replaced by what cannot serve."""

from collections.abc import Collection

from activities import policies
from activities.image.fit import ImageFit
from activities.rollout.preflight import NoRoutesError, PreflightError, unknown_checks
from relight.domain.image.choice import CheckImageRolloutInput, ImageRolloutChecked
from relight.domain.image.image import ImageManifest
from relight.domain.names import CheckName
from relight.engine.step import step
from relight.store.errors import UnknownImageError
from relight.store.store import Store
from relight.store.threads import in_thread

MAX_NAMED_REGIONS = 10


class ImageRolloutActivities:
    """Called before a rollout of an image claims its scope."""

    def __init__(self, store: Store, fit: ImageFit, checks: Collection[CheckName]) -> None:
        self._store = store
        self._fit = fit
        self._checks = checks

    @step(policies.LOOKUP, lambda i: f"{i.image_name} over {i.scope}")
    async def check_image_rollout(self, input: CheckImageRolloutInput) -> ImageRolloutChecked:
        """Check that each region of the scope has the image, and that the releases run on it."""
        manifest = await in_thread(self._store.images.manifest, input.image_name)
        if manifest is None:
            raise UnknownImageError(
                f"there is no image {input.image_name} on record: `relight image list` shows those "
                f"that there are, `relight image publish {input.image_name}` publishes one"
            )
        missing = await in_thread(self._missing, manifest, input)
        if missing:
            more = len(missing) - MAX_NAMED_REGIONS
            named = ", ".join(missing[:MAX_NAMED_REGIONS])
            named += f" and {more} more" if more > 0 else ""
            raise PreflightError(
                f"image {manifest.name} is not in {named}: "
                f"`relight image publish {manifest.name} --missing` brings it there"
            )
        if problems := unknown_checks(input.checks, self._checks):
            raise PreflightError("; ".join(map(str, problems)))
        await self._fit.require_fit(manifest)
        return ImageRolloutChecked(architecture=manifest.architecture)

    def _missing(self, manifest: ImageManifest, input: CheckImageRolloutInput) -> list[str]:
        """Return the regions of the scope's machines that lack the image."""
        wanted = {
            f"{route.provider}/{route.region}"
            for route in self._store.routes.in_scope(input.scope)
            if route.architecture == manifest.architecture
        }
        if not wanted:
            raise NoRoutesError(
                f"no route in scope {input.scope} serves on {manifest.architecture}, for which "
                f"image {manifest.name} is"
            )
        images = self._store.images.list(name=manifest.name)
        having = {each.place for each in images if each.ref is not None}
        return sorted(wanted - having)
