"""The home folder: the secrets that are made once, and what `relight up` says in it to others."""

import fcntl
import os
import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from starter.local.children import wait_until

HOST_KEY_SECRET_BYTES = 32


class SshSecrets(NamedTuple):
    """The files without which no host can be spoken to.

    Attributes:
        client_key: the private key with which the control plane logs in, in OpenSSH's form.
        host_key_secret: the secret from which every machine's host key is derived, in
            hexadecimal. Losing it means that no machine can be known again.
    """

    client_key: Path
    host_key_secret: Path


def prepare_home(home: Path) -> SshSecrets:
    """Make the folder, closed to others, and the secrets that it lacks."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    made = SshSecrets(home / "ssh_client_key", home / "host_key_secret")
    if not made.client_key.exists():
        key = Ed25519PrivateKey.generate()
        write_private(
            made.client_key,
            key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        )
    if not made.host_key_secret.exists():
        write_private(made.host_key_secret, f"{secrets.token_hex(HOST_KEY_SECRET_BYTES)}\n")
    return made


def prepare_service_secrets(home: Path) -> Path:
    """Make the lab's daemon a secret of its own, as it would have one in life."""
    file = home / "daemon_secrets"
    if not file.exists():
        write_private(file, f"LANTERN_TOKEN={secrets.token_hex(16)}\n")
    return file


def write_env(home: Path, values: Mapping[str, str]) -> None:
    """Set variables in the file `env`, which `settings` reads; other lines stay as they are."""
    env = home / "env"
    lines = env.read_text().splitlines() if env.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in values]
    ours = [_assignment(name, value) for name, value in values.items()]
    write_private(env, "".join(f"{line}\n" for line in kept + ours))


def write_temporal_profile(profile: Path, address: str, namespace: str) -> None:
    """Write a Temporal client's configuration, as `temporalio.envconfig` reads it."""
    text = f'[profile.default]\naddress = "{address}"\nnamespace = "{namespace}"\n'
    write_private(profile, text)


def _assignment(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; a reader sees the old text or the new one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)


def try_lock(file: IO[str]) -> bool:
    """Lock an open file if nobody else has, and return whether it is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def lock_within(file: IO[str], within: timedelta) -> None:
    """Lock an open file.

    Raises:
        TimeoutError: somebody else has it all the time.
    """

    async def locked() -> bool:
        return try_lock(file)

    await wait_until(locked, within)


# MERGEDOC """Locks between processes: held by a file that is open, and gone with whoever holds it."""
