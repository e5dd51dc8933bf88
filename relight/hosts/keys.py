"""The SSH keys of both ends: each machine's derived host key, and the control plane's own.

A machine's host key is derived from a secret of the control plane and the machine's key, so it
is known before the machine exists, nothing needs to be written down, and every derivation gives
the same bytes: the user-data that carries it can be rendered twice and compared.
"""

import base64
import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MINIMUM_SECRET_BYTES = 32

_ALGORITHM = b"ssh-ed25519"
_KEY_BYTES = 32
_BLOCK_BYTES = 8
_PEM_COLUMNS = 70


class IdentityError(ValueError):
    """A key or the secret behind it is missing or unusable."""


@dataclass(frozen=True)
class HostKey:
    """A machine's SSH host key.

    Attributes:
        private: in OpenSSH's PEM form. A secret.
        public: one line, as in `ssh-ed25519 AAAA... de-1-g1`.
    """

    private: str = field(repr=False)
    public: str


def derive_host_key(secret: bytes, machine_key: str) -> HostKey:
    """Return the host key of the machine of this key; the same for ever for the same secret.

    Raises:
        IdentityError: the secret is shorter than 32 bytes.
    """
    if len(secret) < MINIMUM_SECRET_BYTES:
        raise IdentityError(
            f"the host key secret has {len(secret)} bytes; at least {MINIMUM_SECRET_BYTES} "
            "are needed"
        )
    info = f"relight ssh host key/{machine_key}".encode()
    seed = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(secret)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    blob = _string(_ALGORITHM) + _string(public)
    return HostKey(
        private=_openssh_private_key(seed, public, blob, machine_key.encode()),
        public=f"{_ALGORITHM.decode()} {base64.b64encode(blob).decode()} {machine_key}",
    )


def load_secret(path: Path) -> bytes:
    """Return the secret from which host keys are derived; its file holds it in hexadecimal.

    Raises:
        IdentityError: the file cannot be read, holds something else, or too little.
    """
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise IdentityError(f"the host key secret {path} cannot be used: {error}") from error
    if len(secret) < MINIMUM_SECRET_BYTES:
        raise IdentityError(
            f"the host key secret {path} has {len(secret)} bytes; "
            f"at least {MINIMUM_SECRET_BYTES} are needed"
        )
    return secret


def load_client_key(path: Path) -> asyncssh.SSHKey:
    """Return the key that the control plane logs in with.

    Raises:
        IdentityError: the file cannot be read, or holds no private key without a passphrase.
    """
    try:
        return asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:
        raise IdentityError(f"the SSH client key {path} cannot be used: {error}") from error


def public_line(key: asyncssh.SSHKey, comment: str) -> str:
    """Return the line that lets `key` in, for an authorized_keys file."""
    algorithm, blob = key.export_public_key("openssh").decode("ascii").split()[:2]
    return f"{algorithm} {blob} {comment}"


def _openssh_private_key(seed: bytes, public: bytes, blob: bytes, comment: bytes) -> str:
    """Write openssh-key-v1 with a check number derived from the key.

    The usual writers draw that number at random, and no two texts of one key are the same.
    """
    check = hashlib.sha256(b"check/" + seed).digest()[:4]
    secret_part = (
        check + check + _string(_ALGORITHM) + _string(public) + _string(seed + public)
    ) + _string(comment)
    secret_part += bytes(range(1, -len(secret_part) % _BLOCK_BYTES + 1))
    whole = (
        b"openssh-key-v1\0"
        + _string(b"none")  # cipher
        + _string(b"none")  # key derivation
        + _string(b"")  # its options
        + struct.pack(">I", 1)  # keys in this file
        + _string(blob)
        + _string(secret_part)
    )
    text = base64.b64encode(whole).decode()
    lines = [text[at : at + _PEM_COLUMNS] for at in range(0, len(text), _PEM_COLUMNS)]
    edge = "OPENSSH PRIVATE KEY-----"
    return "\n".join([f"-----BEGIN {edge}", *lines, f"-----END {edge}", ""])


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
