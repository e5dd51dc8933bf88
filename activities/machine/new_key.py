"""Whether the next key of a route or of a pool is free at its provider. Nothing is changed."""

from collections.abc import Mapping

from activities import policies
from relight.domain.doubt import OUTDATED
from relight.domain.fault.error import DomainError
from relight.domain.machine import CheckNewKeyInput
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.providers.driver import ProviderDriver, driver_named
from relight.store.store import Store
from relight.store.threads import in_thread


class RecordsOutdatedError(DomainError):
    """A provider has a machine that is newer than the record."""

    kind = OUTDATED


class NewKeyActivities:
    """Called before a key is given out for a machine that does not exist yet."""

    def __init__(self, store: Store, drivers: Mapping[str, ProviderDriver], owner: str) -> None:
        self._owner = owner
        self._store = store
        self._drivers = drivers

    @step(policies.LOOKUP, lambda i: i.route_id or f"pool {i.provider}/{i.region}")
    async def check_new_key(self, input: CheckNewKeyInput) -> Recorded:
        """Return if no machine has the key that the store gives out next; refuse it otherwise.

        Creating would adopt such a machine, which may serve already. A key that is on record as
        planned is not checked: what an earlier run left under it is continued with. A machine of
        another owner says nothing about our record; creating refuses it.
        """
        store = self._store
        if input.route_id is not None:
            following = await in_thread(store.replacements.following, input.route_id)
            key = None if following.is_planned else following.key
        else:
            key = await in_thread(store.pool.following, input.provider, input.region)
        driver = driver_named(self._drivers, input.provider)
        found = await driver.find(key) if key is not None else None
        if found is not None and found.owner == self._owner:
            raise RecordsOutdatedError(
                f"our records may be old: {input.provider} has a machine {key}, and no such key is "
                "on record; `relight store check` compares them"
            )
        return Recorded()
