"""The store: one attribute per aggregate."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError

from relight.domain.hold import HoldKind
from relight.store import migrate
from relight.store.adoptions import Adoptions
from relight.store.breaker import BreakerStore
from relight.store.configurations import Configurations
from relight.store.database import Database, parse_url
from relight.store.declarations import Declarations
from relight.store.deletions import Deletions
from relight.store.destruction_evidence import DestructionEvidences
from relight.store.destructions import Destructions
from relight.store.disruptions import Disruptions
from relight.store.errors import StoreError
from relight.store.events import Events
from relight.store.fleet_identities import FleetIdentities
from relight.store.fleet_settings import FleetSettings
from relight.store.holds import Holds
from relight.store.image_use import ImageUse
from relight.store.images import Images
from relight.store.incidents import Incidents
from relight.store.kept_machines import KeptMachines
from relight.store.key_rotations import KeyRotationStore
from relight.store.liveness import LivenessStore
from relight.store.machines import Machines
from relight.store.permits import Permits
from relight.store.pool import Pool
from relight.store.pool_releases import PoolReleases
from relight.store.pool_sizes import PoolSizes
from relight.store.release_histories import ReleaseHistories
from relight.store.releases import Releases
from relight.store.remediations import Remediations
from relight.store.replacements import Replacements
from relight.store.repository_indexes import RepositoryIndexes
from relight.store.retention import Retention
from relight.store.retirements import Retirements
from relight.store.rollout_routes import RolloutRoutes
from relight.store.rollout_status import RolloutStatuses
from relight.store.rollouts import Rollouts
from relight.store.route_evidence import RouteEvidences
from relight.store.routes import Routes
from relight.store.row_repair import RowRepair
from relight.store.skew import Skews
from relight.store.sweeps import Sweeps
from relight.store.tracks import Tracks
from relight.store.unreachable import is_unreachable, unreachable
from relight.store.verifications import Verifications
from relight.store.worker_keys import WorkerKeysStore


class Store:
    """The fleet's declared and actual state, and the log of all changes.

    Threads may share one. Calls block: from an event loop, use `in_thread` (`threads.py`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.fleet_identity = FleetIdentities(database)
        self.routes = Routes(database)
        self.skew = Skews(database)
        self.route_evidence = RouteEvidences(database)
        self.machines = Machines(database)
        self.tracks = Tracks(database)
        self.fleet_settings = FleetSettings(database)
        self.releases = Releases(database)
        self.configurations = Configurations(database)
        self.images = Images(database)
        self.image_use = ImageUse(database)
        self.repository_indexes = RepositoryIndexes(database)
        self.rollouts = Rollouts(database)
        self.freezes = Holds(database, HoldKind.FREEZE)
        self.exclusions = Holds(database, HoldKind.EXCLUSION)
        self.rollout_routes = RolloutRoutes(database)
        self.rollout_status = RolloutStatuses(database)
        self.events = Events(database)
        self.replacements = Replacements(database)
        self.retirements = Retirements(database)
        self.kept_machines = KeptMachines(database)
        self.deletions = Deletions(database)
        self.destructions = Destructions(database)
        self.destruction_evidence = DestructionEvidences(database)
        self.pool = Pool(database)
        self.pool_sizes = PoolSizes(database)
        self.pool_releases = PoolReleases(database)
        self.disruptions = Disruptions(database)
        self.remediations = Remediations(database)
        self.breaker = BreakerStore(database)
        self.breaker_overrides = Holds(database, HoldKind.BREAKER_OVERRIDE)
        self.declarations = Declarations(database)
        self.sweeps = Sweeps(database)
        self.verifications = Verifications(database)
        self.retention = Retention(database)
        self.release_histories = ReleaseHistories(database)
        self.permits = Permits(database)
        self.row_repair = RowRepair(database)
        self.liveness = LivenessStore(database)
        self.incidents = Incidents(database)
        self.adoptions = Adoptions(database)
        self.key_rotations = KeyRotationStore(database)
        self.worker_keys = WorkerKeysStore(database)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at a URL. It connects at the first call.

        Raises:
            BadStoreUrlError: the URL is malformed or names an unsupported database.
        """
        return cls(Database(parse_url(url)))

    @property
    def name(self) -> str:
        """The file or the address of the database, without user and password."""
        return self._database.name

    def upgrade(self) -> str | None:
        """Migrate the tables to this version's schema; return their revision before.

        Returns:
            None if there were no tables.

        Raises:
            StoreTooNewError: the tables were made by a newer version.
            StoreUnreachableError: the database does not answer, or its file cannot be used.
        """
        with self._answering():
            return migrate.upgrade(self._database)

    def require_current(self) -> None:
        """Check that the tables have this version's schema. It changes nothing.

        Raises:
            StoreTooOldError: there are no tables yet, or an older version made them.
            StoreTooNewError: a newer version made them.
            StoreUnreachableError: the database does not answer, or its file cannot be used.
        """
        with self._answering():
            migrate.require_current(self._database)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn an error of the connection into one that names the store."""
        try:
            yield
        except DBAPIError as error:
            if not is_unreachable(error):
                raise
            raise unreachable(error, self.name) from error

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
    """Open the store at a URL, whose tables have this version's schema. It migrates nothing.

    Raises:
        BadStoreUrlError: the URL is malformed or names an unsupported database.
        StoreTooOldError: there are no tables yet, or an older version made them.
        StoreTooNewError: a newer version made them.
    """
    store = Store.open(url)
    try:
        store.require_current()
    except StoreError:
        store.close()
        raise
    return store


def open_upgraded_store(url: str) -> Store:
    """Open the store at a URL, and migrate its tables to this version's schema.

    Raises:
        BadStoreUrlError: the URL is malformed or names an unsupported database.
        StoreTooNewError: the tables were made by a newer version.
    """
    store = Store.open(url)
    try:
        store.upgrade()
    except StoreError:
        store.close()
        raise
    return store
