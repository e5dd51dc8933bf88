"""What commands share: the requester and the reason, and access to the store and to Temporal."""

import asyncio
import getpass
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from relight.domain.base import Origin
from relight.settings import Settings, load_settings
from starter.cli.errors import ExitCode, OperationFailedError
from starter.cli.output import note

if TYPE_CHECKING:  # slow to import: only commands that need them do so
    from temporalio.client import Client

    from relight.store.events import Operation
    from relight.store.store import Store

Answer = TypeVar("Answer")

ReasonOption = Annotated[
    str, typer.Option("--reason", "-r", help="Why; it is recorded in the event log.")
]
"""The option `--reason` of every command that changes something."""

DEFAULT_REASON = "typed by hand"


def origin(reason: str) -> Origin:
    """Return the requester, as USER@HOST of this computer, and the reason."""
    return Origin(requested_by=f"{getpass.getuser()}@{socket.gethostname()}", reason=reason)


def operation(reason: str) -> "Operation":
    """Return the operation of a command that writes to the store itself."""
    from relight.store.events import Operation  # noqa: PLC0415

    return Operation(origin=origin(reason))


@contextmanager
def fleet_store() -> "Iterator[Store]":
    """Open the store that the settings name.

    Raises:
        StoreTooOldError: it has no tables yet, or an older version's. Nothing is migrated here.
        StoreTooNewError: it has a newer version's tables.
    """
    from relight.store.store import open_store  # noqa: PLC0415

    settings = load_settings()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_store(settings.database_url) as store:
        yield store


def with_temporal(ask: "Callable[[Client, Settings], Awaitable[Answer]]") -> Answer:
    """Call a function with a Temporal client, and return its answer.

    Raises:
        SetupError: Temporal does not answer, or is not prepared for Relight.
        OperationFailedError: Temporal stopped answering, or refused a request.
    """
    from temporalio.service import RPCError  # noqa: PLC0415

    from relight.engine.connection import connect, require_search_attributes  # noqa: PLC0415

    settings = load_settings()

    async def connected() -> Answer:
        client = await connect(settings)
        await require_search_attributes(client)
        return await ask(client, settings)

    try:
        return asyncio.run(connected())
    except RPCError as error:
        msg = f"Temporal: {error.message}; started workflows continue"
        raise OperationFailedError(msg) from error
    except KeyboardInterrupt:
        note("started workflows continue")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
