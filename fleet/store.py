"""The store, opened: every area of it under its name."""

from types import TracebackType
from typing import Self

from fleet import addresses, migrating
from fleet.audits import Audits
from fleet.breaker import BreakerOverrides, BreakerStore
from fleet.care import Care
from fleet.database import Database
from fleet.declared import Declared
from fleet.destructions import Destructions
from fleet.disruptions import Disruptions
from fleet.events import Events
from fleet.machines import Machines
from fleet.pool import Pool
from fleet.pool_sizes import PoolSizes
from fleet.releases import Releases
from fleet.restraints import Exclusions, Freezes
from fleet.rollout_routes import RolloutRoutes
from fleet.rollouts import Rollouts
from fleet.routes import Routes
from fleet.settings import FleetSettings
from fleet.succession import Successors
from fleet.sweeping import Sweeping
from fleet.tracks import Tracks


class Store:
    """What the fleet is, what it should be, and everything that was done to it.

    Threads may share one. Calls block.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.routes = Routes(database)
        self.machines = Machines(database)
        self.tracks = Tracks(database)
        self.settings = FleetSettings(database)
        self.releases = Releases(database)
        self.rollouts = Rollouts(database)
        self.freezes = Freezes(database)
        self.exclusions = Exclusions(database)
        self.rollout_routes = RolloutRoutes(database)
        self.events = Events(database)
        self.successors = Successors(database)
        self.destructions = Destructions(database)
        self.pool = Pool(database)
        self.pool_sizes = PoolSizes(database)
        self.disruptions = Disruptions(database)
        self.care = Care(database)
        self.breaker = BreakerStore(database)
        self.overrides = BreakerOverrides(database)
        self.declared = Declared(database)
        self.sweeping = Sweeping(database)
        self.audits = Audits(database)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at an address. It connects at the first call.

        Raises:
            BadStoreUrlError: the address names no database that it can be kept in.
        """
        return cls(Database(addresses.parse(url)))

    def migrate(self) -> None:
        """Bring the tables to this version's shape.

        Raises:
            StoreTooNewError: a newer version has been here.
        """
        migrating.upgrade(self._database)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_store(url: str) -> Store:
    """Open the store at an address, with its tables in this version's shape.

    Raises:
        BadStoreUrlError: the address names no database that it can be kept in.
        StoreTooNewError: a newer version has been here.
    """
    store = Store.open(url)
    store.migrate()
    return store
