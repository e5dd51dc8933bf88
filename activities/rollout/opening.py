"""What is checked before a rollout claims its scope."""

from activities import policies
from activities.release import ReleaseActivities
from activities.rollout.preflight import NoRoutesError, PreflightActivities
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.rollout.rollout import CheckRolloutInput, PreflightInput
from relight.engine.step import step
from relight.store.store import Store
from relight.store.threads import in_thread


class OpeningActivities:
    """Checks a release before its rollout. No host is changed, and nothing is claimed."""

    def __init__(
        self, store: Store, releases: ReleaseActivities, preflight: PreflightActivities
    ) -> None:
        self._store = store
        self._releases = releases
        self._preflight = preflight

    @step(policies.PREFLIGHT, lambda i: f"{i.tag}: {i.scope}")
    async def check_rollout(self, input: CheckRolloutInput) -> Release:
        """Return the release of a tag; refuse it if the scope has no routes, or cannot take it."""
        architectures = await in_thread(self._store.routes.architectures, input.scope)
        if not architectures:
            raise NoRoutesError(
                f"no route in scope {input.scope} serves: there is nothing to roll out to"
            )
        release = await self._releases.resolve_release(
            ResolveReleaseInput(
                tag=input.tag, architectures=tuple(architectures), for_rollout=not input.undo
            )
        )
        await self._preflight.preflight(
            PreflightInput(
                release=release,
                scope=input.scope,
                checks=input.checks,
                undo=input.undo,
                roll_back=input.roll_back,
                origin=input.origin,
            )
        )
        return release
