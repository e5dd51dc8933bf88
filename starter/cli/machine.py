"""`relight machine remove`, `keep`: a person's word that a machine is to be destroyed, or not."""

from typing import Annotated

import typer

from relight.domain.destruction import (
    DestroyMachineInput,
    DestructionReason,
    RemoveMachineInput,
)
from relight.store.machines import MachineRecord
from relight.store.store import Store
from relight.store.tables import RecordStatus
from starter.cli.confirmation import YesOption, confirm
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.output import JsonOption
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    operation,
    origin,
    with_temporal,
)
from starter.cli.waiting import TimeoutOption, WaitOption, patience_of

app = typer.Typer(no_args_is_help=True)


@app.callback()
def machine() -> None:
    """Machines that serve no route, and that automation does not destroy by itself."""


@app.command()
def remove(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The machine's key, its label.")],
    *,
    provider: Annotated[
        str | None,
        typer.Option(
            help="The provider of a machine that is not on record, or destroyed by it.",
            metavar="PROVIDER",
        ),
    ] = None,
    reason: ReasonOption = DEFAULT_REASON,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Destroy a machine that serves no route, also if it answers.

    Automation destroys no machine that answers as ours, unless a person asks for it: this is that
    word, and it is recorded. The breaker and the hourly limits apply; the removal waits for them.
    A machine that serves a route is refused: replace its route's machine, or retire the route.

    [bold]Examples:[/]

      relight machine remove eu-1-g3 --reason "left over by a replacement that failed"
      relight machine remove pool-lab-eu-1-7 --provider lab --reason "not on record, serves nothing"
    """
    from starter.cli.remove import remove as remove_machine  # noqa: PLC0415 - brings in the SDK

    confirm(f"machine {key} is destroyed", yes=yes)
    with fleet_store() as store:
        request = _request(store, key, provider, reason)
        with_temporal(
            lambda client, settings: remove_machine(
                client, settings.task_queue, request, as_json=json
            )
        )


@app.command()
def keep(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The machine's key, its label.")],
    *,
    reason: ReasonOption = DEFAULT_REASON,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """End the removal of a machine before it is destroyed, and keep the machine.

    From then on nothing destroys it, whoever asked for that before: it is on record as `kept`, and
    automation leaves it. `relight machine remove` ends that. A machine that serves its route goes
    on serving. Exit code 0 once the removal has ended, 1 if it was too late: the machine is
    destroyed, or its provider was asked to destroy it already.

    [bold]Example:[/]

      relight machine keep eu-1-g1 --reason "its users are still there"
    """
    from starter.cli.keep import keep as keep_machine  # noqa: PLC0415 - brings in the SDK

    patience = patience_of(timeout, waits=wait)
    with fleet_store() as store:
        with_temporal(
            lambda client, _: keep_machine(
                client, store, key, operation(reason), patience, as_json=json
            )
        )


def _request(store: Store, key: str, provider: str | None, reason: str) -> RemoveMachineInput:
    """Record the person's word, and return what is to be done."""
    record, asked = store.machines.get(key), operation(reason)
    if record is None and provider is None:
        msg = f"machine {key} is not on record: name its provider with --provider"
        raise BadInputError(msg)
    if record is not None and record.status == RecordStatus.DESTROYED and provider is None:
        msg = (
            f"machine {key} is destroyed{_since(record)}: nothing is left to remove. If "
            f"{record.provider} has it all the same, `relight machine remove {key} --provider "
            f"{record.provider}` removes it"
        )
        raise RefusedError(msg)
    if record is not None:
        _leave(store, record, reason)
    store.destruction_evidence.request_removal(key, asked)
    observed = store.machines.last_observed(key)
    return RemoveMachineInput(
        route_id=record.route_id if record else None,
        machine=observed,
        reason=reason,
        origin=asked.origin,
        request=DestroyMachineInput(
            provider=record.provider if record else provider or "",
            key=key,
            provider_id=record.provider_id if record else None,
            region=record.region if record else None,
            reason=DestructionReason.REQUESTED,
            text=reason,
            origin=origin(reason),
        ),
    )


def _since(record: MachineRecord) -> str:
    return f" since {record.destroyed_at:%Y-%m-%d %H:%M:%S} UTC" if record.destroyed_at else ""


def _leave(store: Store, record: MachineRecord, reason: str) -> None:
    """Let nothing continue with a machine.

    Raises:
        RefusedError: it serves a route.
    """
    route = store.routes.get(record.route_id) if record.route_id else None
    if route is not None and route.machine is not None and route.machine.key == record.key:
        msg = (
            f"machine {record.key} serves route {route.route_id}: `relight route replace "
            f"{route.route_id}` gives it another, `relight route retire {route.route_id}` ends it"
        )
        raise RefusedError(msg)
    store.pool.mark_leaving(record.key, operation(reason))
    store.destructions.begin_removal(record.key, operation(reason))
