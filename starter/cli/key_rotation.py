"""`relight keys rotate`: the new key's file, the rotation of all machines, and its end here."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

from relight.domain.key_rotation import (
    KeyKind,
    KeyName,
    KeyRotation,
    KeyStanding,
    RotateKeysInput,
    having,
    next_of,
    rotation_workflow_id,
    unfinished_text,
    waiting_text,
)
from relight.key_names import key_names
from relight.settings import load_settings, required
from relight.store.store import Store
from relight.store.threads import in_thread
from starter.cli.errors import BadInputError, OperationFailedError, RefusedError
from starter.cli.key_status import (
    key_file,
    lacking_text,
    nobody_has_text,
    rename_text,
)
from starter.cli.operations import cli_error, failure_fault, require_worker
from starter.cli.output import note, print_json, print_line
from starter.cli.session import fleet_store, operation, origin, with_temporal
from starter.cli.waiting import Patience, within
from starter.local.children import wait_until
from starter.local.home import (
    make_next,
    new_client_key,
    new_host_key_secret,
    replace_problem,
    set_next_aside,
)
from workflows.endings import result_of
from workflows.fleet.key_rotation import RotateKeys

_SETTINGS = {KeyKind.CLIENT: "client_key", KeyKind.HOST_SECRET: "host_key_secret"}

POLL_EVERY = timedelta(seconds=1)

REPORTED_AGAIN_WITHIN = timedelta(seconds=10)
"""Workers report a changed file within two seconds."""


def rotate(
    kind: KeyKind,
    leave: Sequence[str],
    *,
    start_over: bool,
    patience: Patience,
    reason: str,
    as_json: bool,
) -> None:
    """Rotate a key, or go on with that.

    Raises:
        CliError: it was refused, failed, or is not finished.
    """
    file = required(key_file(load_settings(), kind), "ssh", _SETTINGS[kind])
    key_names(kind, file)  # Refused where no worker runs, before its folder is.
    if problem := replace_problem(file):
        raise RefusedError(f"a new key could not replace this one: {problem}")
    with fleet_store() as store:
        left = [_machine_key(store, each) for each in leave]
        finished = store.key_rotations.standing(kind)
        if finished is not None and finished.rotation.is_finished and _use_next(finished, file):
            _end(finished, file, as_json=as_json)
            return

        async def ask(client: Client, task_queue: str) -> None:
            await require_worker(client, task_queue)
            old, new = await _prepare(store, kind, file, start_over=start_over)
            input = RotateKeysInput(  # noqa: A001 - as everywhere
                kind=kind, old=old, new=new, origin=origin(reason), start_over=start_over
            )
            if left:
                await in_thread(store.key_rotations.leave, kind, left, operation(reason))
            handle = await _start(client, task_queue, input)
            if not patience.waits:
                _print_started(kind, file, as_json=as_json)
                return
            standing = await within(
                patience,
                _follow(store, kind, file, handle),
                handle.id,
                f"relight keys rotate {kind}",
            )
            _end(standing, file, as_json=as_json)

        with_temporal(lambda client, settings: ask(client, settings.task_queue))


def _machine_key(store: Store, host: str) -> str:
    """Return the key of a machine that is named by it, or by the route that it serves.

    Raises:
        BadInputError: there is neither.
    """
    if store.machines.get(host) is not None:
        return host
    route = store.routes.get(host)
    if route is None or route.machine is None:
        msg = f"there is no machine {host} on record, and no route {host} that has one"
        raise BadInputError(msg)
    return route.machine.key


async def _prepare(
    store: Store, kind: KeyKind, file: Path, *, start_over: bool
) -> tuple[KeyName, KeyName]:
    """Make the new file, unless there is one; return the old key and the new one.

    Raises:
        RefusedError: a file here is not the one that is needed, or that of a worker; or it is to
            start over, and the new key is not lost.
    """
    rotation = (await in_thread(store.key_rotations.all)).get(kind)
    names = key_names(kind, file)
    if rotation is not None and not rotation.is_finished:
        for place, each in zip((file, next_of(file)), names, strict=False):
            if each.fingerprint == rotation.new.fingerprint:
                if start_over:
                    raise RefusedError(_not_lost_text(rotation, place))
                return rotation.old, each
        await _require_lost(store, rotation, file, start_over=start_over)
        if kept := set_next_aside(file):
            note(f"renamed {next_of(file)} to {kept}: it is not the key of the rotation")
    elif start_over:
        raise RefusedError(
            f"no rotation of the {kind} key is unfinished: `relight keys rotate {kind}` begins one"
        )
    else:
        await _require_workers_use(store, kind, file, names[0].fingerprint)
        if len(names) > 1:
            return names[0], names[1]
    text = new_client_key() if kind is KeyKind.CLIENT else new_host_key_secret()
    try:
        made = make_next(file, text)
    except FileExistsError:
        raise RefusedError(
            f"{next_of(file)} exists, and no other key can be read from it. If another command"
            " makes it just now, type this again. If no machine has its key, rename it"
        ) from None
    note(f"made {made}; workers on other computers need a copy of it, beside {file.name}")
    old, new = key_names(kind, file)
    return old, new


def _use_next(standing: KeyStanding, file: Path) -> bool:
    """Let the new file of a finished rotation be the one in use; return whether it was not yet."""
    names = key_names(standing.rotation.kind, file)
    if len(names) == 1 or names[1].fingerprint != standing.rotation.new.fingerprint:
        return False
    with suppress(FileNotFoundError):  # Another command has done it in this moment.
        next_of(file).replace(file)
    return True


def _not_lost_text(rotation: KeyRotation, place: Path) -> str:
    return (
        f"the new key {rotation.new.fingerprint} is not lost: it is in {place}, and machines may"
        f" accept no other. `relight keys rotate {rotation.kind}` goes on with it; `--leave HOST`"
        " goes on without a machine"
    )


async def _require_lost(
    store: Store, rotation: KeyRotation, file: Path, *, start_over: bool
) -> None:
    """Check that the new key, which is not here, is at no worker, and that a person gives it up.

    Raises:
        RefusedError: a worker has it, or nobody has given it up.
    """
    new, kind = rotation.new.fingerprint, rotation.kind
    workers = await in_thread(store.worker_keys.list)
    missing = f"the new key {new} of the unfinished rotation is not in the files here"
    if holders := having(kind, new, workers):
        raise RefusedError(
            f"{missing}: copy it from the computer of {', '.join(holders)} to {next_of(file)}, and"
            f" type `relight keys rotate {kind}`"
        )
    if not start_over:
        raise RefusedError(f"{missing}. {nobody_has_text(rotation)}")


async def _require_workers_use(store: Store, kind: KeyKind, file: Path, in_use: str) -> None:
    """Check that each worker uses the same key: a worker's FILE.next would be overwritten.

    Raises:
        RefusedError: one does not.
    """
    behind: list[str] = []

    async def all_use_it() -> bool:
        workers = await in_thread(store.worker_keys.list)
        behind[:] = [each.worker for each in workers if each.of(kind)[:1] != (in_use,)]
        return not behind

    try:
        await wait_until(all_use_it, REPORTED_AGAIN_WITHIN)
    except TimeoutError:
        raise RefusedError(rename_text(file, behind)) from None


async def _start(
    client: Client, task_queue: str, input: RotateKeysInput
) -> WorkflowHandle[RotateKeys, KeyStanding]:
    """Start the rotation; or let the running one visit the machines now."""
    policy = WorkflowIDConflictPolicy
    return await client.start_workflow(
        RotateKeys.run,
        input,
        id=rotation_workflow_id(input.kind),
        task_queue=task_queue,
        # The run that waits for a lost key would wait for ever.
        id_conflict_policy=policy.TERMINATE_EXISTING if input.start_over else policy.USE_EXISTING,
        start_signal=RotateKeys.visit_now.__name__,
        static_summary=f"rotate the {input.kind} key",
        static_details=f"Requested by {input.origin.requested_by}: {input.origin.reason}",
    )


async def _follow(
    store: Store, kind: KeyKind, file: Path, handle: WorkflowHandle[RotateKeys, KeyStanding]
) -> KeyStanding:
    """Return how the rotation ends; until then, print what changes.

    Raises:
        CliError: it failed.
    """
    result, shown = asyncio.create_task(handle.result()), ""
    try:
        while not result.done():
            await asyncio.wait([result], timeout=POLL_EVERY.total_seconds())
            text = await in_thread(_progress, store, kind, file)
            if text != shown and not result.done():
                note(text)
                shown = text
        return await result_of(result, KeyStanding)
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error)) from None
    finally:
        result.cancel()


def _progress(store: Store, kind: KeyKind, file: Path) -> str:
    standing = store.key_rotations.standing(kind)
    if standing is None:
        return "beginning"
    if text := lacking_text(standing.rotation, store.worker_keys.list(), file):
        return text
    text = f"{standing.rotation.phase}: {standing.counts}"
    failing = [each for each in standing.waiting if each.failed]
    if failing:
        text += f". It waits for {waiting_text(standing)}"
        text += f". `relight keys rotate {kind} --leave HOST` goes on without a machine"
    return text


def _print_started(kind: KeyKind, file: Path, *, as_json: bool) -> None:
    workflow_id = rotation_workflow_id(kind)
    if as_json:
        print_json({"kind": kind, "workflow_id": workflow_id, "finished": False})
    else:
        print_line(
            f"it runs: `relight keys status` shows it, and `relight keys rotate {kind}` waits for"
            f" its end, which replaces {file}"
        )


def _end(standing: KeyStanding, file: Path, *, as_json: bool) -> None:
    """Use the new file, and print what was done.

    Raises:
        OperationFailedError: machines that it was to go on without have the old key still.
    """
    rotation = standing.rotation
    if rotation.is_finished:
        _use_next(standing, file)
    if as_json:
        print_json(standing)
    if not rotation.is_finished:
        msg = (
            f"{unfinished_text(standing)}. The old key stays in {file}. Once they answer,"
            f" `relight keys rotate {rotation.kind}` goes on; it also does once they are destroyed"
        )
        raise OperationFailedError(msg)
    if not as_json:
        print_line(
            f"{rotation.kind}: {standing.machines} machines have the key {rotation.new.fingerprint}"
            f" and none has {rotation.old.fingerprint}. The key is in {file}. On other computers"
            f" with a worker, rename {next_of(file).name} to {file.name}"
        )
