"""`relight keys status`: which keys are in use, how far rotations are, and what to do next."""

from contextlib import suppress
from pathlib import Path

from relight.domain.base import Message
from relight.domain.key_rotation import (
    NEXT,
    KeyKind,
    KeyRotation,
    KeyStanding,
    WorkerKeys,
    having,
    lacking,
)
from relight.key_names import key_names
from relight.setting_groups import SettingsError
from relight.settings import Settings, load_settings
from relight.store.store import Store
from starter.cli.output import print_line, print_table


class KeyStatus(Message):
    """One kind of key.

    Attributes:
        in_use: its fingerprint in the file here; None without one.
        new: that of the file beside it; None without one.
        rotation: the newest one, and what its machines have; None if there was none.
        workers: what each worker has, the key that it uses first.
        next: what to do, for a person.
    """

    kind: KeyKind
    file: str
    in_use: str | None
    new: str | None
    rotation: KeyStanding | None
    workers: tuple[WorkerKeys, ...]
    next: str


def key_file(settings: Settings, kind: KeyKind) -> Path | None:
    """Return the file of the key in use, None if none is set."""
    is_client = kind is KeyKind.CLIENT
    return settings.ssh.client_key if is_client else settings.ssh.host_key_secret


def read_status(store: Store) -> list[KeyStatus]:
    """Return the status of each kind of key."""
    settings, workers = load_settings(), store.worker_keys.list()
    return [_status(store, settings, kind, workers) for kind in KeyKind]


def print_status(statuses: list[KeyStatus]) -> None:
    """Print the status for a person."""
    for each in statuses:
        print_line(
            f"{each.kind}: {each.in_use or 'no key here'}  ({each.file or 'no file is set'})"
        )
        if each.rotation is not None:
            _print_rotation(each.rotation)
        for worker in each.workers:
            print_line(f"  worker {worker.worker} has {', '.join(worker.of(each.kind))}")
        print_line(f"  next: {each.next}")


def lacking_text(rotation: KeyRotation, workers: tuple[WorkerKeys, ...], file: Path | None) -> str:
    """Return what to copy to the workers that lack a key; empty if none does."""
    missing = lacking(rotation, workers)
    if not missing:
        return ""
    who = ", ".join(f"{worker} ({name})" for worker, name in sorted(missing.items()))
    text = f"these workers lack a {rotation.kind} key: {who}. "
    new = rotation.new.fingerprint
    if new not in keys_here(rotation.kind, file) and not having(rotation.kind, new, workers):
        return text + nobody_has_text(rotation)
    name = file.name if file else "FILE"
    return (
        f"{text}Copy {name} and {name}{NEXT} there from where both are, with mode 0600 and the"
        " worker's user as their owner"
    )


def nobody_has_text(rotation: KeyRotation) -> str:
    """Return what to do about a new key that is neither here nor at a worker."""
    return (
        f"No worker that runs has the new key {rotation.new.fingerprint}. If it is lost,"
        f" `relight keys rotate {rotation.kind} --start-over` makes another"
    )


def keys_here(kind: KeyKind, file: Path | None) -> tuple[str, ...]:
    """Return the fingerprints in the files here; none where no worker runs."""
    if file is not None:
        with suppress(SettingsError):
            return tuple(each.fingerprint for each in key_names(kind, file))
    return ()


def _status(
    store: Store, settings: Settings, kind: KeyKind, workers: tuple[WorkerKeys, ...]
) -> KeyStatus:
    file = key_file(settings, kind)
    names = keys_here(kind, file)
    standing = store.key_rotations.standing(kind)
    return KeyStatus(
        kind=kind,
        file=str(file or ""),
        in_use=names[0] if names else None,
        new=names[1] if len(names) > 1 else None,
        rotation=standing,
        workers=workers,
        next=_next(kind, file, standing, workers),
    )


def _next(
    kind: KeyKind,
    file: Path | None,
    standing: KeyStanding | None,
    workers: tuple[WorkerKeys, ...],
) -> str:
    begin = f"`relight keys rotate {kind}`"
    if standing is None:
        return f"nothing. {begin} exchanges it"
    rotation = standing.rotation
    if text := lacking_text(rotation, workers, file):
        return text
    if not rotation.is_finished:
        leave = " `--leave HOST` goes on without a machine." if standing.waiting_count else ""
        return f"{begin} goes on with the rotation, or waits for its end.{leave}"
    behind = [each.worker for each in workers if each.of(kind)[0] != rotation.new.fingerprint]
    if behind:
        return f"{rename_text(file, behind)}. On the computer of the command, {begin} does it"
    return f"nothing. {begin} exchanges it again"


def rename_text(file: Path | None, workers: list[str]) -> str:
    """Return how workers end a rotation that is finished."""
    name = file or "FILE"
    return (
        f"the rotation is finished, and the file of {', '.join(workers)} is the old one: rename"
        f" {name}{NEXT} to {name} there"
    )


def _print_rotation(standing: KeyStanding) -> None:
    rotation = standing.rotation
    print_line(
        f"  rotation from {rotation.old.fingerprint} to {rotation.new.fingerprint}:"
        f" {rotation.phase} since {rotation.phase_since:%Y-%m-%d %H:%M:%S} UTC"
    )
    if rotation.is_finished:
        return
    print_line(f"  {standing.counts}")
    if standing.waiting:
        print_table(
            ("waits for", "route", "reason", "left"),
            (
                (each.machine_key, each.route_id, each.reason, "yes" if each.left else "no")
                for each in standing.waiting
            ),
        )
    if (more := standing.waiting_count - len(standing.waiting)) > 0:
        print_line(f"  and {more} more machines")
