"""What commands share: the requester and the reason, and access to the store and to Temporal."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from relight.context import LOCAL
from relight.domain.base import Origin
from relight.engine.errors import HomeDownError, NoHomeError, TemporalUnreachableError
from relight.home import existing_store_url, home_is_down, own_temporal_runs
from relight.person import person
from relight.settings import Settings, load_settings
from relight.store_address import store_address
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
    """Return the requester, as USER@HOST of this computer, and the reason.

    Behind `sudo` the user is the person who typed the command.
    """
    return Origin(requested_by=f"{person().name}@{socket.gethostname()}", reason=reason)


def operation(reason: str) -> "Operation":
    """Return the operation of a command that writes to the store itself."""
    from relight.store.events import Operation  # noqa: PLC0415

    return Operation(origin=origin(reason))


_announced: ContextVar[bool] = ContextVar("announced", default=False)
"""Whether this command has said in which context it changes something."""


def announce(settings: Settings, fleet_id: str | None = None) -> None:
    """Print to standard error, once, the context in which this command changes something.

    Args:
        settings: of that context.
        fleet_id: of its fleet; None if the command has not opened the store.
    """
    if _announced.get():
        return
    _announced.set(True)
    where = settings.home if settings.has_embedded_store else store_name(settings)
    fleet_id = fleet_id or fleet_of(settings)
    fleet = f"fleet {fleet_id[:8]}" if fleet_id else "no fleet yet"
    note(f"context {settings.context.name or LOCAL} ({where}, {fleet})")


def store_name(settings: Settings) -> str:
    """Return the file or the address of the store, without user and password."""
    from relight.store.store import Store  # noqa: PLC0415

    if settings.has_embedded_store:
        return str(settings.store_file)
    with Store.open(store_address(settings)) as store:
        return store.name


def fleet_of(settings: Settings) -> str | None:
    """Return the id of the fleet; None without a store that has this version's tables."""
    from relight.store.errors import StoreError  # noqa: PLC0415
    from relight.store.store import open_store  # noqa: PLC0415

    try:
        with open_store(existing_store_url(settings)) as store:
            return _fleet_in(store)
    except (NoHomeError, StoreError):
        return None


def _fleet_in(store: "Store") -> str | None:
    """Return the id of the store's fleet; None if its row was deleted by hand."""
    from relight.store.errors import StoreError  # noqa: PLC0415

    try:
        return store.fleet_identity.get().fleet_id
    except StoreError:
        return None


_checked: ContextVar[bool] = ContextVar("checked", default=False)
"""Whether this command has checked that its store and its Temporal are of one fleet."""


@contextmanager
def fleet_store(*, reads_only: bool = False, announces: bool = True) -> "Iterator[Store]":
    """Open the store of the fleet; invalid rows that were met are named at the end.

    Nothing is created or migrated.

    The store in a home folder may be used while the home is down; this is noted on standard error.
    A store or a Temporal that a setting names must be of one fleet with the other.

    Args:
        reads_only: if Temporal does not answer, note it and continue. What changes something is
            refused then, and prints its context.
        announces: `False` prints no context: the command only reads, but needs Temporal.

    Raises:
        SetupError: there is no fleet here, or the store and Temporal are not of one fleet.
        StoreTooOldError: the store has no tables yet, or an older version's.
        StoreTooNewError: it has a newer version's tables.
    """
    from relight.store import bad_rows  # noqa: PLC0415
    from relight.store.store import open_store  # noqa: PLC0415

    settings = load_settings()
    with (
        open_store(existing_store_url(settings)) as store,
        bad_rows.collecting() as bad,
    ):
        if announces and not reads_only:
            announce(settings, _fleet_in(store))
        if not _checked.get():
            _check(settings, store, reads_only=reads_only)
            _checked.set(True)
        yield store
    for row in bad:
        note(str(row))


def _check(settings: Settings, store: "Store", *, reads_only: bool) -> None:
    if settings.has_embedded_store and not settings.context.names_a_server:
        # Both are the home's own. Commands that reach its Temporal check the ids.
        if not own_temporal_runs(settings.home):
            note(f"{home_is_down(settings.home)}. This is what its store says")
        return
    from relight.engine.connection import connect  # noqa: PLC0415
    from relight.engine.fleet import require_same_fleet  # noqa: PLC0415

    async def check() -> None:
        await require_same_fleet(await connect(settings), store)

    try:
        asyncio.run(check())
    except (HomeDownError, NoHomeError, TemporalUnreachableError) as error:
        if not reads_only:
            raise
        note(f"{error}. This is what the store {store.name} says")


def with_temporal(
    ask: "Callable[[Client, Settings], Awaitable[Answer]]", *, reads_only: bool = False
) -> Answer:
    """Call a function with a Temporal client, and return its answer.

    Args:
        ask: the function.
        reads_only: it changes nothing, so the context is not announced.

    Raises:
        SetupError: there is no fleet here; Temporal does not answer, or is not prepared for
            Relight; or the store and Temporal are not of one fleet.
        OperationFailedError: Temporal stopped answering, or refused a request.
    """
    from temporalio.service import RPCError  # noqa: PLC0415

    from relight.engine.connection import connect, require_search_attributes  # noqa: PLC0415
    from relight.engine.encryption import require_payload_key  # noqa: PLC0415
    from relight.engine.fleet import require_same_fleet  # noqa: PLC0415
    from relight.store.store import open_store  # noqa: PLC0415
    from relight.store.threads import in_thread  # noqa: PLC0415

    settings = load_settings()
    store_url = existing_store_url(settings)

    async def connected() -> Answer:
        client = await connect(settings)
        with await in_thread(open_store, store_url) as store:
            identity = await require_same_fleet(client, store)
        _checked.set(True)
        if not reads_only:
            announce(settings, identity.fleet_id)
        await require_search_attributes(client)
        await require_payload_key(client, settings.task_queue)
        return await ask(client, settings)

    try:
        return asyncio.run(connected())
    except RPCError as error:
        msg = f"Temporal: {error.message}; started workflows continue"
        raise OperationFailedError(msg) from error
    except KeyboardInterrupt:
        note("started workflows continue")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
