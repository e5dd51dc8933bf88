"""What speaks against a replacement: a newer machine of the route, or an old one that answers."""

from activities import policies
from activities.execution import current_operation
from activities.fleet.verification import VerificationActivities
from activities.machine.listing import list_machines
from activities.machine.new_key import RecordsOutdatedError
from activities.machine.presence import Presence
from relight.domain.fault.error import DomainError
from relight.domain.image.image import ImageName
from relight.domain.machine import Machine
from relight.domain.names import RouteId
from relight.domain.replacement import CheckReplacementInput
from relight.domain.route import Recorded, Route
from relight.domain.sweep.planner import numbered
from relight.engine.step import step
from relight.providers.driver import ProviderUnavailableError
from relight.store.errors import UnknownRouteError
from relight.store.replacements import NextMachine
from relight.store.store import Store
from relight.store.threads import in_thread


class MachineIsThereError(DomainError):
    """The machine is as it should be: it answers, or is made of the image that is rolled out."""

    kind = "machine-is-there"


class ReplacementCheckActivities:
    """Called before anything is changed for a replacement."""

    def __init__(
        self,
        store: Store,
        verifications: VerificationActivities,
        presence: Presence,
        owner: str,
    ) -> None:
        self._owner = owner
        self._store = store
        self._verifications = verifications
        self._presence = presence

    @step(policies.PROVE, lambda i: i.route_id)
    async def check_replacement(self, input: CheckReplacementInput) -> Recorded:
        """Return if the route may get another machine; refuse it otherwise.

        A machine under the key that the store would give out next would be adopted, though it may
        serve the route already. If the old machine is said to be gone or unreachable, it is looked
        for once more: one that is there is observed, and the result recorded.
        """
        route = await in_thread(self._store.routes.get, input.route_id)
        if route is None:
            raise UnknownRouteError(f"there is no route {input.route_id}")
        following = await in_thread(self._store.replacements.following, input.route_id)
        if input.image_name is not None:
            await in_thread(self._require_other_image, route.route_id, input.image_name)
        await self._require_current(route, following)
        if route.machine is not None and (input.unreachable or input.gone):
            await self._require_absent(route, route.machine, input)
        return Recorded()

    def _require_other_image(self, route_id: RouteId, image_name: ImageName) -> None:
        """Refuse if an operation that ran meanwhile has given the route a machine of the image."""
        if route_id in self._store.machines.routes_of_image(image_name):
            raise MachineIsThereError(
                f"the machine of route {route_id} is made of image {image_name} already"
            )

    async def _require_current(self, route: Route, following: NextMachine) -> None:
        """Refuse if the provider has a machine of the route that the record does not know.

        Raises:
            RecordsOutdatedError: it has one.
        """
        driver, stem = self._presence.driver(route.provider), f"{route.route_id}-g"
        newest = (await in_thread(self._store.sweeps.newest)).get(stem, 0)
        listing = await list_machines(driver, route.region)
        if not listing.complete:
            raise ProviderUnavailableError(
                driver.name,
                f"list the machines in {route.region}",
                "the listing is not complete, so it does not show whether our records are old",
            )
        listed = [numbered(each.key) for each in listing.machines if each.owner == self._owner]
        newer = [f"{stem}{at}" for other, at in sorted(listed) if other == stem and at > newest]
        # A listing may lack it.
        found = None if newer else await driver.find(following.key)
        if found is not None and found.owner == self._owner:
            lost = route.machine is not None and await self._presence.find(route.machine) is None
            if not following.is_planned or lost:
                newer = [following.key]
        if newer:
            serves = f"{route.machine.key} serves it" if route.machine else "it has no machine"
            raise RecordsOutdatedError(
                f"our records may be old: {route.provider} has {', '.join(newer)} of route "
                f"{route.route_id}, and on record {serves}; `relight store check` compares them"
            )

    async def _require_absent(
        self, route: Route, machine: Machine, input: CheckReplacementInput
    ) -> None:
        """Refuse if the old machine answers, or exists though it is said to be gone.

        Raises:
            MachineIsThereError: it does.
        """
        if await self._presence.answers(machine):
            tag = route.current_release_tag or route.target_release_tag
            if tag is not None:
                await self._verifications.verify_now(route, tag, current_operation(input.origin))
            raise MachineIsThereError(f"machine {machine.key} of route {route.route_id} answers")
        if input.gone and await self._presence.find(machine) is not None:
            await in_thread(self._store.remediations.record_gone_since, route.route_id, None)
            raise MachineIsThereError(
                f"machine {machine.key} of route {route.route_id} is not gone: {machine.provider} "
                "has it"
            )
