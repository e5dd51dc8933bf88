"""The way to Temporal, for the CLI and the worker alike.

Where it is and how it knows us is the SDK's own configuration (`temporalio.envconfig`): the
variables `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`, over the
TOML file that `TEMPORAL_CONFIG_FILE` names, or else the one that `relight up` wrote.
"""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError

from relight.engine import search_attributes
from relight.engine.errors import TemporalNotPreparedError, TemporalUnreachableError
from relight.settings import Settings

CONNECT_WITHIN = timedelta(seconds=5)
DEFAULT_ADDRESS = "localhost:7233"


def home_profile(home: Path) -> Path:
    """Return the file in which `relight up` says how its Temporal is reached."""
    return home / "temporal.toml"


def connect_config(settings: Settings) -> ClientConnectConfig:
    """Return what `connect` will connect to.

    Raises:
        TemporalUnreachableError: the configuration cannot be read.
    """
    profile = home_profile(settings.home)
    use_home = "TEMPORAL_CONFIG_FILE" not in os.environ and profile.exists()
    try:
        config = ClientConfig.load_client_connect_config(
            config_file=str(profile) if use_home else None
        )
    except RuntimeError as error:
        msg = f"Temporal's configuration cannot be read: {error}"
        raise TemporalUnreachableError(msg) from error
    return {"target_host": DEFAULT_ADDRESS, **config}


async def connect(settings: Settings) -> Client:
    """Connect to Temporal.

    Raises:
        TemporalUnreachableError: nothing answers there within `CONNECT_WITHIN`.
    """
    config = connect_config(settings)
    try:
        async with asyncio.timeout(CONNECT_WITHIN.total_seconds()):
            return await Client.connect(**config, data_converter=pydantic_data_converter)
    except (RuntimeError, TimeoutError) as error:
        why = "connection refused" if "ConnectionRefused" in str(error) else str(error)
        msg = (
            f"Temporal does not answer at {config['target_host']}"
            f" ({why or f'no answer within {CONNECT_WITHIN.total_seconds():.0f} s'}):"
            " start one with `relight up`, or set TEMPORAL_ADDRESS to where yours is"
        )
        raise TemporalUnreachableError(msg) from error


async def missing_search_attributes(client: Client) -> tuple[str, ...]:
    """Return those of Relight's search attributes that the server does not have as Keywords."""
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    known = {name for name, kind in answer.custom_attributes.items() if kind == keyword}
    return tuple(name for name in search_attributes.NAMES if name not in known)


async def require_search_attributes(client: Client) -> None:
    """See that the server is prepared for Relight's workflows.

    Raises:
        TemporalNotPreparedError: it lacks the namespace, or search attributes; the text says how
            to add them.
    """
    try:
        missing = await missing_search_attributes(client)
    except RPCError as error:
        msg = f"Temporal's namespace {client.namespace} cannot be used: {error.message}"
        raise TemporalNotPreparedError(msg) from error
    if missing:
        names = " ".join(f"--name {name} --type Keyword" for name in missing)
        msg = (
            f"Temporal's namespace {client.namespace} lacks search attributes. Add them with:\n"
            f"  temporal operator search-attribute create --namespace {client.namespace} {names}"
        )
        raise TemporalNotPreparedError(msg)
