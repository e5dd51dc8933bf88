"""The store: one attribute per aggregate."""

from types import TracebackType
from typing import Self

from relight.store import migrate
from relight.store.breaker import BreakerOverrides, BreakerStore
from relight.store.database import Database, parse_url
from relight.store.declarations import Declarations
from relight.store.destructions import Destructions
from relight.store.disruptions import Disruptions
from relight.store.events import Events
from relight.store.fleet_settings import FleetSettings
from relight.store.holds import Exclusions, Freezes
from relight.store.machines import Machines
from relight.store.permits import Permits
from relight.store.pool import Pool, PoolSizes
from relight.store.releases import Releases
from relight.store.remediations import Remediations
from relight.store.replacements import Replacements
from relight.store.rollout_routes import RolloutRoutes
from relight.store.rollouts import Rollouts
from relight.store.routes import Routes
from relight.store.sweeps import Sweeps
from relight.store.tracks import Tracks
from relight.store.verifications import Verifications


class Store:
    """The fleet's declared and actual state, and the log of all changes.

    Threads may share one. Calls block.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.routes = Routes(database)
        self.machines = Machines(database)
        self.tracks = Tracks(database)
        self.fleet_settings = FleetSettings(database)
        self.releases = Releases(database)
        self.rollouts = Rollouts(database)
        self.freezes = Freezes(database)
        self.exclusions = Exclusions(database)
        self.rollout_routes = RolloutRoutes(database)
        self.events = Events(database)
        self.replacements = Replacements(database)
        self.destructions = Destructions(database)
        self.pool = Pool(database)
        self.pool_sizes = PoolSizes(database)
        self.disruptions = Disruptions(database)
        self.remediations = Remediations(database)
        self.breaker = BreakerStore(database)
        self.breaker_overrides = BreakerOverrides(database)
        self.declarations = Declarations(database)
        self.sweeps = Sweeps(database)
        self.verifications = Verifications(database)
        self.permits = Permits(database)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at a URL. It connects at the first call.

        Raises:
            BadStoreUrlError: the URL is malformed or names an unsupported database.
        """
        return cls(Database(parse_url(url)))

    def migrate(self) -> None:
        """Migrate the tables to this version's schema.

        Raises:
            StoreTooNewError: the tables were made by a newer version.
        """
        migrate.upgrade(self._database)

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
    """Open the store at a URL, and migrate its tables to this version's schema.

    Raises:
        BadStoreUrlError: the URL is malformed or names an unsupported database.
        StoreTooNewError: the tables were made by a newer version.
    """
    store = Store.open(url)
    store.migrate()
    return store
