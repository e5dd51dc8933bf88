"""SSH keys: each machine's derived host key, and the control plane's client key.

A machine's host key is derived from a secret and the machine's key. So it is known before the
machine exists, it is not stored, and each derivation gives the same bytes: user-data that contains
it can be rendered again and compared.
"""

import base64
import hashlib
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relight.domain.error_words import error_words

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


@lru_cache(maxsize=256)  # An operation on a machine asks several times.
def derive_host_key(secret: bytes, machine_key: str) -> HostKey:
    """Return the host key of a machine; always the same for the same secret and machine key.

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


def configuration_key(secret: bytes) -> bytes:
    """Return the key of the digests by which hosts name the service's configuration."""
    info = b"relight configuration digest"
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(secret)


def load_secret(path: Path) -> bytes:
    """Return the secret from which host keys are derived; the file contains it in hexadecimal.

    Raises:
        IdentityError: the file cannot be read, is not hexadecimal, or is too short.
    """
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise IdentityError(
            f"the host key secret {path} cannot be used: {error_words(error)}"
        ) from error
    if len(secret) < MINIMUM_SECRET_BYTES:
        raise IdentityError(
            f"the host key secret {path} has {len(secret)} bytes; "
            f"at least {MINIMUM_SECRET_BYTES} are needed"
        )
    return secret


def load_client_key(path: Path) -> asyncssh.SSHKey:
    """Return the private key that the control plane logs in with.

    Raises:
        IdentityError: the file cannot be read, or has no private key without a passphrase.
    """
    try:
        return asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:
        raise IdentityError(
            f"the SSH client key {path} cannot be used: {error_words(error)}"
        ) from error


def public_line(key: asyncssh.SSHKey, comment: str) -> str:
    """Return the line of an authorized_keys file that accepts `key`."""
    algorithm, blob = key.export_public_key("openssh").decode("ascii").split()[:2]
    return f"{algorithm} {blob} {comment}"


def _openssh_private_key(seed: bytes, public: bytes, blob: bytes, comment: bytes) -> str:
    """Return the key in the format openssh-key-v1, with a check number derived from the key.

    Other implementations use a random check number, so their output differs each time.
    """
    check = hashlib.sha256(b"check/" + seed).digest()[:4]
    secret_part = (
        check + check + _string(_ALGORITHM) + _string(public) + _string(seed + public)
    ) + _string(comment)
    secret_part += bytes(range(1, -len(secret_part) % _BLOCK_BYTES + 1))
    content = (
        b"openssh-key-v1\0"
        + _string(b"none")  # cipher
        + _string(b"none")  # key derivation
        + _string(b"")  # key derivation options
        + struct.pack(">I", 1)  # number of keys
        + _string(blob)
        + _string(secret_part)
    )
    text = base64.b64encode(content).decode()
    lines = [text[start : start + _PEM_COLUMNS] for start in range(0, len(text), _PEM_COLUMNS)]
    label = "OPENSSH PRIVATE KEY-----"
    return "\n".join([f"-----BEGIN {label}", *lines, f"-----END {label}", ""])


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
