"""The home folder: secrets that are generated once, files that `relight up` writes, file locks."""

import fcntl
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from relight.domain.key_rotation import next_of
from relight.person import give, owner_of
from starter.local.children import wait_until

HOST_KEY_SECRET_BYTES = 32

_MOUNTS = Path("/proc/self/mountinfo")


class SshSecrets(NamedTuple):
    """The files that every SSH connection to a host needs.

    Attributes:
        client_key: the private key of the control plane, in OpenSSH format.
        host_key_secret: the secret that every machine's host key is derived from, in
            hexadecimal. If it is lost, no machine can be identified again.
    """

    client_key: Path
    host_key_secret: Path


def prepare_home(home: Path) -> SshSecrets:
    """Create the folder with mode 0700, and the secrets that are missing in it."""
    make_private_folder(home)
    home.chmod(0o700)
    give(home, owner_of(home))
    ssh = SshSecrets(home / "ssh_client_key", home / "host_key_secret")
    if not ssh.client_key.exists():
        write_private(ssh.client_key, new_client_key())
    if not ssh.host_key_secret.exists():
        write_private(ssh.host_key_secret, new_host_key_secret())
    return ssh


def new_client_key() -> str:
    """Return a new private key, in OpenSSH's format."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def new_host_key_secret() -> str:
    """Return a new secret from which host keys are derived, in hexadecimal."""
    return f"{secrets.token_hex(HOST_KEY_SECRET_BYTES)}\n"


def replace_problem(path: Path) -> str | None:
    """Return why no file beside `path` can be made and renamed to it; None if one can be."""
    folder = path.parent.resolve()
    # Each mount has a line; `os.path.ismount` does not see a file of the same file system.
    mounts = {line.split(" ")[4] for line in _MOUNTS.read_text().splitlines()}
    if _as_in_mounts(folder / path.name) in mounts:
        return f"{path} is mounted by itself. Mount its folder instead"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} cannot be written by this user"
    return None


def make_private_folder(folder: Path) -> None:
    """Create a folder with mode 0700, and the missing ones above it, for the one above them."""
    if not folder.exists():
        make_private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        give(folder, owner_of(folder.parent))


def hand_over(home: Path) -> None:
    """Give all that this process has made in a home folder to the folder's owner.

    Behind `sudo`, so that the person can use it without. The machines of a lab stay root's: they
    are the root folders of other systems.
    """
    owner = owner_of(home)
    if owner.uid == os.geteuid():
        return
    for folder, folders, files in os.walk(home):
        if Path(folder) == home / "lab" and "machines" in folders:
            folders.remove("machines")
        for each in (folder, *(f"{folder}/{name}" for name in files)):
            with suppress(FileNotFoundError):
                give(Path(each), owner)


def make_next(path: Path, text: str) -> Path:
    """Write the new file of a rotation beside the one in use, for the same owner; return its path.

    It is on the disk before any host gets the key: without the file, such a host would be lost.

    Raises:
        FileExistsError: there is such a file. It may be the only copy of a key that hosts have.
    """
    made, owner = next_of(path), path.stat()
    unfinished = made.with_name(f".{made.name}.{secrets.token_hex(4)}")
    write_private(unfinished, text)
    try:
        if (owner.st_uid, owner.st_gid) != (os.getuid(), os.getgid()):
            os.chown(unfinished, owner.st_uid, owner.st_gid)
        os.link(unfinished, made)  # Unlike a rename, it overwrites nothing.
    finally:
        unfinished.unlink()
    for each in (made, made.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return made


def set_next_aside(path: Path) -> Path | None:
    """Rename the new file beside `path`, so that another can be made; return its path now.

    None if there is none.
    """
    made, number = next_of(path), 1
    while (kept := made.with_name(f"{made.name}.{number}")).exists():
        number += 1
    try:
        return made.rename(kept)
    except FileNotFoundError:
        return None


def service_secrets(home: Path) -> Path:
    """Return the file with the secrets of the lab's service; it may not exist."""
    return home / "service_secrets"


def prepare_service_secrets(home: Path) -> Path:
    """Return the file with the secrets of the lab's service; create it if it is missing."""
    file = service_secrets(home)
    if not file.exists():
        write_private(file, f"LANTERN_TOKEN={secrets.token_hex(16)}\n")
    return file


def write_env(home: Path, values: Mapping[str, str]) -> None:
    """Set variables in the file `env`, which the settings read; keep all other lines."""
    env = home / "env"
    lines = env.read_text().splitlines() if env.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in values]
    added = [_assignment(name, value) for name, value in values.items()]
    write_private(env, "".join(f"{line}\n" for line in kept + added))


def write_temporal_profile(profile: Path, address: str, namespace: str) -> None:
    """Write the configuration of a Temporal client, as `temporalio.envconfig` reads it."""
    text = f'[profile.default]\naddress = "{address}"\nnamespace = "{namespace}"\n'
    write_private(profile, text)


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 atomically: a reader gets the old text or the new one.

    Behind `sudo` it belongs to the owner of its folder.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    give(unfinished, owner_of(path.parent))
    unfinished.replace(path)


def try_lock(file: IO[str]) -> bool:
    """Lock an open file without waiting, and return whether that succeeded.

    The lock lasts until every copy of the open file is closed, also after SIGKILL.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def lock_within(file: IO[str], within: timedelta) -> None:
    """Lock an open file.

    Raises:
        TimeoutError: another process still holds the lock after `within`.
    """

    async def locked() -> bool:
        return try_lock(file)

    await wait_until(locked, within)


def _as_in_mounts(path: Path) -> str:
    """Return a path as the kernel lists it."""
    return "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in str(path))


def _assignment(name: str, value: str) -> str:
    """Return a line of the file `env`, also of a value of several lines."""
    escaped = value.replace("\\", "\\\\")
    if "\n" in value:
        escaped = escaped.replace('"', '\\"').replace("\n", "\\n")
        return f'{name}="{escaped}"'
    quoted = escaped.replace("'", "\\'")
    return f"{name}='{quoted}'"
