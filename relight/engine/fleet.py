"""The fleet that a Temporal namespace belongs to: an entry of the namespace's own data.

Whoever may describe a namespace can read it. Only who may change the namespace can write it.
"""

from temporalio.api.namespace.v1 import UpdateNamespaceInfo
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from relight.domain.fleet_identity import (
    Agreement,
    NamespaceIdentity,
    StoreIdentity,
    agreement,
)
from relight.engine import search_attributes
from relight.engine.errors import TemporalNotPreparedError, WrongFleetError
from relight.store.store import Store
from relight.store.threads import in_thread

NAMESPACE_KEY = "relight-fleet"

_OURS = " OR ".join(
    f"{key.name} IS NOT NULL" for key in (search_attributes.ROUTE, search_attributes.ROLLOUT)
)


async def namespace_identity(client: Client) -> NamespaceIdentity:
    """Ask the server which fleet the client's namespace belongs to.

    Raises:
        TemporalNotPreparedError: there is no such namespace, or it may not be described.
    """
    request = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        info = (await client.workflow_service.describe_namespace(request)).namespace_info
    except RPCError as error:
        raise TemporalNotPreparedError(_unusable(client, error)) from error
    return NamespaceIdentity(namespace_id=info.id, fleet_id=info.data.get(NAMESPACE_KEY) or None)


async def require_same_fleet(client: Client, store: Store) -> StoreIdentity:
    """Check that the store and the client's namespace belong together. It changes nothing.

    Raises:
        WrongFleetError: they do not; the text names both ids, and says what to type.
        TemporalNotPreparedError: there is no such namespace, or it may not be described.
    """
    identity = await in_thread(store.fleet_identity.get)
    await require_namespace_of(client, store, identity)
    return identity


async def require_namespace_of(client: Client, store: Store, identity: StoreIdentity) -> None:
    """Check as `require_same_fleet` does, with the store's identity as it was read before.

    Raises:
        WrongFleetError, TemporalNotPreparedError: as there.
    """
    namespace = await namespace_identity(client)
    found = agreement(identity, namespace)
    if found is not Agreement.AGREED:
        raise WrongFleetError(_explained(found, client, store, identity, namespace))


async def join(
    client: Client, store: Store, *, own_server: bool = False, adopt: bool = False
) -> StoreIdentity:
    """Note in the store and in the namespace that the two belong together. It may be repeated.

    Args:
        client: of the namespace.
        store: the store.
        own_server: the server's database is in the store's home folder, so that all that is in it
            is of this fleet.
        adopt: a person says that the namespace is this store's, although the store has worked with
            another one, or either is in use since before they had ids.

    Raises:
        WrongFleetError: the namespace is another fleet's; or, without `adopt`, may be.
        TemporalNotPreparedError: the namespace may not be described or changed.
    """
    identity, namespace = (
        await in_thread(store.fleet_identity.get),
        await namespace_identity(client),
    )
    found = agreement(identity, namespace)
    if found is Agreement.OTHER_FLEET or (found is Agreement.OTHER_TEMPORAL and not adopt):
        raise WrongFleetError(_explained(found, client, store, identity, namespace))
    is_new = identity.namespace_id is None and namespace.fleet_id is None
    if is_new and not (own_server or adopt):
        await _require_unused(client, store)
    await in_thread(store.fleet_identity.join, namespace.namespace_id)
    if namespace.fleet_id is None:
        await _write(client, identity.fleet_id)
    # Read again: another store may have been joined to it at the same time.
    return await require_same_fleet(client, store)


async def _require_unused(client: Client, store: Store) -> None:
    """Refuse to join what is in use since before fleets had ids: it may be another's."""
    workflows = (await client.count_workflows(_OURS)).count
    routes = len(await in_thread(store.routes.list))
    if workflows or routes:
        msg = (
            f"{_named(client)} belongs to no fleet yet, and the store {store.name} works with no"
            f" Temporal yet, but they are in use (workflows: {workflows}, routes: {routes}): they"
            " are from before fleets had ids. Nothing was changed. If the two belong together,"
            " type `relight init --adopt-temporal`"
        )
        raise WrongFleetError(msg)


async def _write(client: Client, fleet_id: str) -> None:
    data = UpdateNamespaceInfo(data={NAMESPACE_KEY: fleet_id})
    request = UpdateNamespaceRequest(namespace=client.namespace, update_info=data)
    try:
        await client.workflow_service.update_namespace(request)
    except RPCError as error:
        msg = (
            f"{_named(client)} cannot be changed: {error.message}. Let somebody who may"
            f" do it type:\n  {_by_hand(client, fleet_id)}\nThen repeat the command"
        )
        raise TemporalNotPreparedError(msg) from error


def _explained(
    found: Agreement,
    client: Client,
    store: Store,
    identity: StoreIdentity,
    namespace: NamespaceIdentity,
) -> str:
    ours, server = f"the store {store.name} is of fleet {identity.fleet_id}", _named(client)
    if found is Agreement.OTHER_FLEET:
        return (
            f"{ours}, but {server} is of fleet {namespace.fleet_id}. Nothing was changed. Set"
            f" RELIGHT_HOME or RELIGHT_STORE_URL to those of fleet {namespace.fleet_id}, or"
            f" TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE to those of fleet {identity.fleet_id}"
        )
    if found is Agreement.OTHER_TEMPORAL:
        return (
            f"{ours} and works with the Temporal namespace {identity.namespace_id}, but"
            f" {server} is another, {namespace.namespace_id}. Nothing was changed. Set"
            " TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE to those of before. If that namespace is"
            " lost for good, type `relight init --adopt-temporal` (for a server that `relight up`"
            " starts: `relight up --adopt-temporal`)"
        )
    return (
        f"{ours}, but {server} belongs to no fleet yet. Nothing was changed. If the two"
        " belong together, type `relight init`"
    )


def _named(client: Client) -> str:
    address = client.service_client.config.target_host
    return f"Temporal at {address}, namespace {client.namespace},"


def _by_hand(client: Client, fleet_id: str) -> str:
    return (
        f"temporal operator namespace update --namespace {client.namespace}"
        f" --data {NAMESPACE_KEY}={fleet_id}"
    )


def _unusable(client: Client, error: RPCError) -> str:
    return f"Temporal's namespace {client.namespace} cannot be used: {error.message}"
