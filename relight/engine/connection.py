"""The connection to Temporal, for the CLI and the worker.

It is configured as the SDK defines (`temporalio.envconfig`): the variables `TEMPORAL_ADDRESS`,
`TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY` and `TEMPORAL_TLS_*` override the TOML file that
`TEMPORAL_CONFIG_FILE` names, or else the one that `relight up` writes.
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

CONNECT_TIMEOUT = timedelta(seconds=5)
DEFAULT_ADDRESS = "localhost:7233"


def home_profile(home: Path) -> Path:
    """Return the file in which `relight up` writes the address of its Temporal server."""
    return home / "temporal.toml"


def connect_config(settings: Settings) -> ClientConnectConfig:
    """Return the configuration that `connect` uses.

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
        TemporalUnreachableError: no server answers within `CONNECT_TIMEOUT`.
    """
    config = connect_config(settings)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds()):
            return await Client.connect(**config, data_converter=pydantic_data_converter)
    except (RuntimeError, TimeoutError) as error:
        reason = "connection refused" if "ConnectionRefused" in str(error) else str(error)
        msg = (
            f"Temporal does not answer at {config['target_host']}"
            f" ({reason or f'no answer within {CONNECT_TIMEOUT.total_seconds():.0f} s'}):"
            " start one with `relight up`, or set TEMPORAL_ADDRESS to the address of yours"
        )
        raise TemporalUnreachableError(msg) from error


async def missing_search_attributes(client: Client) -> tuple[str, ...]:
    """Return the search attributes of Relight that the server does not have as Keywords."""
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    known = {name for name, kind in answer.custom_attributes.items() if kind == keyword}
    return tuple(name for name in search_attributes.NAMES if name not in known)


async def require_search_attributes(client: Client) -> None:
    """Check that the server has what Relight's workflows need.

    Raises:
        TemporalNotPreparedError: it lacks the namespace or search attributes; the text says how
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
