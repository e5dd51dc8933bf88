"""What commands share: who asks and why, and the ways to the store and to Temporal."""

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

if TYPE_CHECKING:  # each takes a good part of a second to import: only commands that need it
    from temporalio.client import Client

    from relight.store.store import Store
    from relight.store.write import Operation

Answer = TypeVar("Answer")

ReasonOption = Annotated[
    str, typer.Option("--reason", "-r", help="Why; it is kept in the event log.")
]
"""The option `--reason` of every command that changes something."""

BY_HAND = "typed by hand"


def origin(reason: str) -> Origin:
    """Return who asks, by this computer's word, and why."""
    return Origin(requested_by=f"{getpass.getuser()}@{socket.gethostname()}", reason=reason)


def by_hand(reason: str) -> "Operation":
    """Return the operation of a command that writes to the store itself."""
    from relight.store.write import Operation  # noqa: PLC0415

    return Operation(origin=origin(reason))


@contextmanager
def the_store() -> "Iterator[Store]":
    """Open the store that the settings name, brought up to date."""
    from relight.store.store import open_store  # noqa: PLC0415

    settings = load_settings()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_store(settings.database_url) as store:
        yield store


def with_temporal(ask: "Callable[[Client, Settings], Awaitable[Answer]]") -> Answer:
    """Ask Temporal something, and return its answer.

    Raises:
        StarterError: it does not answer, or is not prepared for Relight.
        OperationFailedError: it went away, or would not do something.
    """
    from temporalio.service import RPCError  # noqa: PLC0415

    from relight.engine.connection import connect, require_search_attributes  # noqa: PLC0415

    settings = load_settings()

    async def asked() -> Answer:
        client = await connect(settings)
        await require_search_attributes(client)
        return await ask(client, settings)

    try:
        return asyncio.run(asked())
    except RPCError as error:
        msg = f"Temporal: {error.message}; whatever was started goes on"
        raise OperationFailedError(msg) from error
    except KeyboardInterrupt:
        note("whatever was started goes on")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
