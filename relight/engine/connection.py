"""The connection to Temporal, for the CLI and the worker.

A server is named by the context. In the context `environment` that is as the SDK defines
(`temporalio.envconfig`): by the variables `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`,
`TEMPORAL_API_KEY` and `TEMPORAL_TLS_*`, or by the TOML file that `TEMPORAL_CONFIG_FILE` names; a
saved context has its own address, namespace and file, and reads none of these variables.
`RELIGHT_TEMPORAL__*` adds credentials from files, and the encryption of payloads. Without a named
server, it is the home folder's own, which `relight up` runs. There is no default: what no setting
names, no command reaches.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError

from relight.domain.duration import span
from relight.engine import search_attributes
from relight.engine.credentials import refusal, with_credentials
from relight.engine.encryption import data_converter
from relight.engine.errors import (
    HomeDownError,
    NoHomeError,
    TemporalNotPreparedError,
    TemporalUnreachableError,
)
from relight.home import (
    home_is_down,
    home_profile,
    is_home,
    no_home,
    own_temporal_runs,
)
from relight.settings import Settings

CONNECT_TIMEOUT = timedelta(seconds=5)

_REASONS = (
    ("ConnectionRefused", "connection refused"),
    ("dns error", "there is no host of this name"),
)
"""What a part of the SDK's text means."""


def connect_config(settings: Settings) -> ClientConnectConfig:
    """Return the configuration that `connect` uses.

    Raises:
        NoHomeError: nothing names a server, and there is no home folder.
        HomeDownError: nothing names a server, and the home folder's own does not run.
        TemporalUnreachableError: the configuration cannot be read, or has no address.
    """
    context = settings.context
    is_own = not context.names_a_server
    if is_own:
        _require_own_server(settings)
    # Never the SDK's default file in the person's own folder: no setting names it.
    named = context.temporal.get("TEMPORAL_CONFIG_FILE")
    file = str(home_profile(settings.home)) if is_own else named
    try:
        config = ClientConfig.load_client_connect_config(
            # The variables configure the server that they name, not the home folder's own.
            config_file=file or None,
            disable_file=not file,
            disable_env=is_own,
            override_env_vars=context.temporal,
        )
    except (RuntimeError, OSError) as error:  # OSError: a file of its certificates
        msg = f"Temporal's configuration cannot be read: {error}"
        raise TemporalUnreachableError(msg) from error
    if not config.get("target_host"):
        msg = f"{file} has no address of a Temporal server: add it there, or set TEMPORAL_ADDRESS"
        raise TemporalUnreachableError(msg)
    return config


def _require_own_server(settings: Settings) -> None:
    home = settings.home
    if not is_home(home):
        raise NoHomeError(f"no Temporal is set, and {no_home(settings.context)}")
    if not own_temporal_runs(home) or not home_profile(home).exists():
        raise HomeDownError(home_is_down(home))


async def connect(settings: Settings) -> Client:
    """Connect to Temporal.

    Raises:
        NoHomeError, HomeDownError: no server is named, and the home folder's own does not run.
        SettingsError: a file with a certificate or a key cannot be used.
        TemporalUnreachableError: no server answers within `CONNECT_TIMEOUT`, or it refuses the
            credentials.
    """
    config, converter = connect_config(settings), data_converter(settings.temporal)
    if settings.context.names_a_server:
        config = with_credentials(config, settings.temporal)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds()):
            return await Client.connect(**config, data_converter=converter)
    except ValueError as error:  # of the address
        msg = f"{config['target_host']} is no address of a Temporal server, HOST:PORT: {error}"
        raise TemporalUnreachableError(msg) from error
    except (RuntimeError, TimeoutError) as error:
        reason = next((text for sign, text in _REASONS if sign in str(error)), str(error))
        if refused := refusal(reason, tls=bool(config.get("tls"))):
            msg = f"Temporal at {config['target_host']} cannot be used: {refused} ({reason})"
            raise TemporalUnreachableError(msg) from error
        msg = (
            f"Temporal does not answer at {config['target_host']}"
            f" ({reason or f'no answer within {span(CONNECT_TIMEOUT)}'}):"
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


async def add_search_attributes(client: Client, names: Sequence[str]) -> None:
    """Add Keywords to the client's namespace, which does not have them."""
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace, search_attributes=dict.fromkeys(names, keyword)
        )
    )


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
