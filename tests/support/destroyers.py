"""The activities that destroy machines, with a store of their own."""

from collections.abc import Mapping
from datetime import timedelta

from activities.machine.ask import MachineQuestions
from activities.machine.destruction import Destroyer, DestructionActivities
from devkit.simulated.connectivity import FakeConnectivityCheck
from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.parts import OWNER, SERVICE
from relight.breaker_evaluation import BreakerEvaluation
from relight.connectivity import ConnectivityCheck
from relight.domain.breaker.breaker import BreakerLimits
from relight.hosts.connections import Hosts
from relight.hosts.host_key_probe import HostKeyProbe
from relight.providers.driver import ProviderDriver
from relight.store.store import Store


def destroyer_of(
    store: Store,
    drivers: Mapping[str, ProviderDriver],
    hosts: Hosts | None = None,
    limits: BreakerLimits | None = None,
    check: ConnectivityCheck | None = None,
    host_keys: HostKeyProbe | None = None,
) -> DestructionActivities:
    """Return the activities as a worker builds them; the limits are those that ship."""
    return DestructionActivities(
        Destroyer(
            store=store,
            drivers=drivers,
            owner=OWNER,
            questions=MachineQuestions(hosts or SimulatedHosts(), SERVICE),
            host_keys=host_keys or SimulatedHosts().shown_key,
            connectivity=(check or FakeConnectivityCheck(),),
            breaker=BreakerEvaluation(store, limits or BreakerLimits(), timedelta(hours=24)),
        )
    )
