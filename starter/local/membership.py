"""Makes a store and a Temporal namespace one fleet: for `relight up` and `relight init`."""

from temporalio.client import Client

from relight.domain.fleet_identity import StoreIdentity
from relight.engine.errors import WrongFleetError
from relight.engine.fleet import join, namespace_identity
from relight.settings import Settings
from relight.store.store import Store, open_store, open_upgraded_store
from relight.store.threads import in_thread
from relight.store_address import store_address
from starter.local.home import hand_over


async def join_fleet(
    client: Client, settings: Settings, *, own_server: bool, adopt: bool = False
) -> StoreIdentity:
    """Make the store's tables if it may, and note that store and namespace belong together.

    Args:
        client: of the namespace.
        settings: name the store.
        own_server: the server is the home folder's own.
        adopt: as in `relight.engine.fleet.join`.

    Raises:
        WrongFleetError: they do not belong together.
        TemporalNotPreparedError: the namespace may not be described or changed.
        StoreError: the store has the tables of another version.
    """
    await _require_its_store(client, settings)
    with await in_thread(prepare_store, settings) as store:
        return await join(
            client,
            store,
            own_server=own_server and settings.has_embedded_store,
            adopt=adopt,
        )


def prepare_store(settings: Settings) -> Store:
    """Open the store: the home folder's with this version's tables, another as it is.

    Raises:
        StoreError: it has the tables of another version.
    """
    opens = open_upgraded_store if settings.has_embedded_store else open_store
    store = opens(store_address(settings))
    if settings.has_embedded_store:
        hand_over(settings.home)
    return store


async def _require_its_store(client: Client, settings: Settings) -> None:
    """Refuse to make an empty store for a Temporal that is some fleet's already."""
    if not settings.has_embedded_store or settings.store_file.exists():
        return
    namespace = await namespace_identity(client)
    if namespace.fleet_id is not None:
        address = client.service_client.config.target_host
        msg = (
            f"Temporal at {address}, namespace {client.namespace}, is of fleet"
            f" {namespace.fleet_id}, and there is no store at {settings.store_file}: a new one"
            " would be of another fleet. Nothing was changed. Restore that file from a backup, or"
            f" set RELIGHT_STORE_URL to the store of fleet {namespace.fleet_id}. For a new fleet,"
            " use another RELIGHT_HOME, and another TEMPORAL_ADDRESS if that is set"
        )
        raise WrongFleetError(msg)
