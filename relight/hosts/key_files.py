"""The key files of a worker: those in use, and beside them those of an unfinished rotation.

`FILE` is in use; `FILE.next` is the new one of a rotation. They are read again whenever they have
changed, so a worker needs no restart. A rotation ends by renaming `FILE.next` to `FILE`. It is read
first, so that no reader misses it.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import asyncssh
import structlog

from relight.domain.fault.error import DomainError
from relight.domain.key_rotation import (
    NEXT,
    KeyKind,
    KeyName,
    KeyRotation,
    KeyRotations,
    RotationPhase,
    next_of,
)
from relight.hosts.keys import (
    HostKey,
    IdentityError,
    derive_host_key,
    load_client_key,
    load_secret,
    public_line,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.keys")


class KeyNotHereError(DomainError):
    """This worker lacks a key of a rotation."""

    kind = "worker-key-missing"


@dataclass(frozen=True)
class ClientKey:
    """A key that the control plane logs in with.

    Attributes:
        fingerprint: `SHA256:...`.
        public: algorithm and public key, as in authorized_keys.
    """

    fingerprint: str
    public: str
    private: asyncssh.SSHKey = field(repr=False, compare=False)

    @property
    def name(self) -> KeyName:
        """What everybody may know of it."""
        return KeyName(fingerprint=self.fingerprint, public=self.public)

    @property
    def line(self) -> str:
        """The line of an authorized_keys file that accepts it."""
        return f"{self.public} relight"


@dataclass(frozen=True)
class HostSecret:
    """A secret from which host keys are derived.

    Attributes:
        fingerprint: `SHA256:...` of a host key that is derived from it for no machine.
    """

    fingerprint: str
    value: bytes = field(repr=False)

    @property
    def name(self) -> KeyName:
        """What everybody may know of it."""
        return KeyName(fingerprint=self.fingerprint)

    def host_key(self, machine_key: str) -> HostKey:
        """Return the host key of a machine."""
        return derive_host_key(self.value, machine_key)


@dataclass(frozen=True)
class KeyRing:
    """All keys that a worker has; of each kind the one in use first."""

    clients: tuple[ClientKey, ...]
    secrets: tuple[HostSecret, ...]

    def fingerprints(self, kind: KeyKind) -> tuple[str, ...]:
        """Return the fingerprints of a kind."""
        keys = self.clients if kind is KeyKind.CLIENT else self.secrets
        return tuple(each.fingerprint for each in keys)

    def require(self, kind: KeyKind, fingerprint: str) -> None:
        """Check that this worker has a key.

        Raises:
            KeyNotHereError: it does not.
        """
        if fingerprint not in self.fingerprints(kind):
            raise _not_here(kind, fingerprint)

    def client(self, fingerprint: str) -> ClientKey:
        """Return a client key.

        Raises:
            KeyNotHereError: this worker does not have it.
        """
        for each in self.clients:
            if each.fingerprint == fingerprint:
                return each
        raise _not_here(KeyKind.CLIENT, fingerprint)

    def secret(self, fingerprint: str) -> HostSecret:
        """Return a host-key secret.

        Raises:
            KeyNotHereError: this worker does not have it.
        """
        for each in self.secrets:
            if each.fingerprint == fingerprint:
                return each
        raise _not_here(KeyKind.HOST_SECRET, fingerprint)


@dataclass(frozen=True)
class NewMachineKeys:
    """The keys that a new machine is made with.

    Attributes:
        clients: the keys that it accepts.
        secret: its host key is derived from it.
    """

    clients: tuple[ClientKey, ...]
    secret: HostSecret


Keys = Callable[[], KeyRing]
"""Returns the keys that a worker has now."""


def client_key_of(private: asyncssh.SSHKey) -> ClientKey:
    """Return a private key with its public names."""
    public = " ".join(public_line(private, "").split())
    return ClientKey(private.get_fingerprint("sha256"), public, private)


def host_secret_of(value: bytes) -> HostSecret:
    """Return a secret with its fingerprint.

    Raises:
        IdentityError: it is shorter than 32 bytes.
    """
    key = asyncssh.import_public_key(derive_host_key(value, "").public)
    return HostSecret(key.get_fingerprint("sha256"), value)


def fixed_keys(client_key: asyncssh.SSHKey, host_key_secret: bytes) -> Keys:
    """Return keys that are in no file and never change."""
    ring = KeyRing((client_key_of(client_key),), (host_secret_of(host_key_secret),))
    return lambda: ring


def keys_for_new_machine(ring: KeyRing, rotations: KeyRotations) -> NewMachineKeys:
    """Return the keys of a machine that is made now.

    While a rotation adds a key, a new machine accepts both and shows the old host key, as all
    machines do that it has not visited. After that it has the new keys alone.

    Raises:
        KeyNotHereError: this worker lacks the new key of a rotation, and each machine has it.
    """
    client, host = rotations.get(KeyKind.CLIENT), rotations.get(KeyKind.HOST_SECRET)
    clients = ring.clients[:1]
    if client is not None and client.phase is RotationPhase.ADDING:
        names = {client.old.fingerprint, client.new.fingerprint}
        clients = tuple(each for each in ring.clients if each.fingerprint in names) or clients
    elif client is not None and _is_current(client, ring):
        clients = (ring.client(client.new.fingerprint),)
    secret = ring.secrets[0]
    if host is not None and host.phase is RotationPhase.ADDING:
        known = [each for each in ring.secrets if each.fingerprint == host.old.fingerprint]
        secret = known[0] if known else secret
    elif host is not None and _is_current(host, ring):
        secret = ring.secret(host.new.fingerprint)
    return NewMachineKeys(clients, secret)


def _is_current(rotation: KeyRotation, ring: KeyRing) -> bool:
    """Return whether a rotation's new key is the one to use.

    A finished rotation may be older than the files: the store may come from a backup.
    """
    known = ring.fingerprints(rotation.kind)
    return not rotation.is_finished or rotation.new.fingerprint in known


def worker_name() -> str:
    """Return the name of this process, as Temporal shows it: `PID@HOST`."""
    return f"{os.getpid()}@{socket.gethostname()}"


def _not_here(kind: KeyKind, fingerprint: str) -> KeyNotHereError:
    files = {
        KeyKind.CLIENT: "RELIGHT_SSH__CLIENT_KEY",
        KeyKind.HOST_SECRET: "RELIGHT_SSH__HOST_KEY_SECRET",
    }
    return KeyNotHereError(
        f"the worker {worker_name()} has no {kind} key {fingerprint}, neither in the file that"
        f" {files[kind]} names nor in that file's {NEXT}: copy it there from a worker that has it"
    )


class _Named(Protocol):
    @property
    def fingerprint(self) -> str: ...


K = TypeVar("K", bound=_Named)


class _File(Generic[K]):
    """A key file, read again whenever it has changed."""

    def __init__(self, path: Path, load: Callable[[Path], K]) -> None:
        self._path = path
        self._load = load
        self._signature: tuple[int, int, int] | None = None
        self._key: K | None = None
        self._complaint = ""

    def read(self) -> K | None:
        """Return the key; None if there is no file, or it could never be used.

        A file that is being copied is not complete yet. What cannot be used is logged once, and the
        key that was read last stays.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._signature = self._key = None
            return None
        signature = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if signature == self._signature:
            return self._key
        try:
            self._key = self._load(self._path)
        except IdentityError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning(self._complaint)
        else:
            self._signature, self._complaint = signature, ""
        return self._key


class _Files(Generic[K]):
    """A key in use, and the new one beside it."""

    def __init__(self, path: Path, load: Callable[[Path], K]) -> None:
        """Read the key in use.

        Raises:
            IdentityError: it cannot be used.
        """
        self._next, self._current = _File(next_of(path), load), _File(path, load)
        self._known = load(path)

    def read(self) -> tuple[K, ...]:
        """Return the key in use, and the new one if there is one."""
        new = self._next.read()  # Before the other one, which it may become at any moment.
        self._known = self._current.read() or self._known
        if new is None or new.fingerprint == self._known.fingerprint:
            return (self._known,)
        return (self._known, new)


class KeyFiles:
    """The keys in a worker's files, as they are now."""

    def __init__(self, client_key: Path, host_key_secret: Path) -> None:
        """Read the files in use.

        Args:
            client_key: the private client key, in OpenSSH's format.
            host_key_secret: the secret, in hexadecimal.

        Raises:
            IdentityError: one of them cannot be used.
        """
        self._clients, self._secrets = _client_keys(client_key), _host_secrets(host_key_secret)

    def __call__(self) -> KeyRing:
        """Return all keys that the files have now."""
        return KeyRing(self._clients.read(), self._secrets.read())


def names_in(kind: KeyKind, file: Path) -> tuple[KeyName, ...]:
    """Return the names of the key in use, and of the new one if there is one.

    Raises:
        IdentityError: the one in use cannot be used.
    """
    if kind is KeyKind.CLIENT:
        return tuple(each.name for each in _client_keys(file).read())
    return tuple(each.name for each in _host_secrets(file).read())


def _client_keys(file: Path) -> _Files[ClientKey]:
    return _Files(file, lambda path: client_key_of(load_client_key(path)))


def _host_secrets(file: Path) -> _Files[HostSecret]:
    return _Files(file, lambda path: host_secret_of(load_secret(path)))
