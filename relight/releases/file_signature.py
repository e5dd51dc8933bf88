"""Signatures of single files, made with a key: by minisign, or by `cosign sign-blob --key`.

Pure but for reading the public key. Raises `RepositoryUntrustedError`, and `RepositoryError` for a
public key that cannot be used.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, Field, TypeAdapter

from relight.domain.error_words import error_words
from relight.releases.errors import RepositoryError, RepositoryUntrustedError

MAX_SIGNATURE_BYTES = 64 * 1024

_KEY_BYTES, _SIGNATURE_BYTES, _ID_BYTES = 32, 64, 8


@dataclass(frozen=True)
class Digests:
    """What signatures are made of: the digests of a file.

    Attributes:
        sha256: of the file.
        blake2b: BLAKE2b-512 of the file, empty if it was not read.
    """

    sha256: bytes
    blake2b: bytes = b""

    @staticmethod
    def of(content: bytes) -> "Digests":
        """Return the digests of a file's content."""
        return Digests(hashlib.sha256(content).digest(), hashlib.blake2b(content).digest())


class _Message(BaseModel):
    signature: str


class _Bundle(BaseModel):
    """A signature in one of cosign's formats of a bundle."""

    message: _Message | None = Field(default=None, alias="messageSignature")
    old: str = Field(default="", alias="base64Signature")

    @property
    def base64(self) -> str:
        return self.message.signature if self.message else self.old


_BUNDLE: TypeAdapter[_Bundle] = TypeAdapter(_Bundle)


class FileKey(Protocol):
    """A public key that signatures of files are checked with.

    Attributes:
        suffixes: of a file's name; the file with one of them has its signature.
        reads_files: whether a signature cannot be checked by a file's SHA-256 alone.
    """

    suffixes: tuple[str, ...]
    reads_files: bool

    def check(self, name: str, digests: Digests, signature: bytes) -> None:
        """Check the signature of a file.

        Raises:
            RepositoryUntrustedError: it is not a valid signature by this key.
        """


def read_file_key(path: Path) -> FileKey:
    """Return the public key in a file, of minisign or of cosign (PEM).

    Raises:
        RepositoryError: it cannot be read, or is neither.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"the public key of the releases cannot be read: {path}: {error_words(error)}"
        raise RepositoryError(msg) from error
    try:
        if b"-----BEGIN PUBLIC KEY-----" in content:
            key = load_pem_public_key(content)
            if isinstance(key, ec.EllipticCurvePublicKey):
                return CosignKey(key)
            raise RepositoryError(f"{path} is not an ECDSA key, as cosign makes them")
        return _minisign_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"{path} is neither a public key of minisign nor of cosign: {error}"
        raise RepositoryError(msg) from error


class MinisignKey:
    """A key of minisign: Ed25519, over the file's BLAKE2b."""

    suffixes: tuple[str, ...] = (".minisig",)
    reads_files = True

    def __init__(self, key_id: bytes, key: Ed25519PublicKey) -> None:
        self._id = key_id
        self._key = key

    def check(self, name: str, digests: Digests, signature: bytes) -> None:
        """Check a signature, which is four lines: two comments, each followed by a signature."""
        try:
            _, line, comment, comment_line = signature.rstrip(b"\n").split(b"\n")[:4]
            signed = base64.b64decode(line, validate=True)
            global_signature = base64.b64decode(comment_line, validate=True)
        except ValueError as error:
            raise _invalid(name, "it is not a signature of minisign") from error
        algorithm, key_id, own = signed[:2], signed[2 : 2 + _ID_BYTES], signed[2 + _ID_BYTES :]
        if algorithm == b"Ed":
            raise _invalid(name, "it is in minisign's old format, without a hash: sign it again")
        if algorithm != b"ED" or len(own) != _SIGNATURE_BYTES:
            raise _invalid(name, "it is not a signature of minisign")
        if key_id != self._id:
            raise _invalid(name, "it is made with another key")
        text = comment.removeprefix(b"trusted comment: ")
        try:
            self._key.verify(own, digests.blake2b)
            self._key.verify(global_signature, own + text)
        except InvalidSignature as error:
            raise _invalid(name, "it does not match the file") from error


class CosignKey:
    """A key of cosign: ECDSA, over the file's SHA-256."""

    suffixes: tuple[str, ...] = (".sig", ".sigstore.json", ".bundle")
    reads_files = False

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    def check(self, name: str, digests: Digests, signature: bytes) -> None:
        """Check a signature: base64, alone or in one of the two formats of a bundle."""
        try:
            made = base64.b64decode(_in_bundle(signature), validate=True)
            self._key.verify(made, digests.sha256, ec.ECDSA(utils.Prehashed(SHA256())))
        except InvalidSignature as error:
            raise _invalid(
                name, "it does not match the file, or is made with another key"
            ) from error
        except ValueError as error:
            raise _invalid(name, "it is not a signature of cosign with a key") from error


def _in_bundle(signature: bytes) -> bytes:
    """Return the base64 of a signature, also if it is in a bundle.

    Raises:
        ValueError: there is none.
    """
    text = signature.strip()
    if not text.startswith(b"{"):
        return text
    return _BUNDLE.validate_json(text).base64.encode()


def _minisign_key(content: bytes) -> MinisignKey:
    lines = [line for line in content.splitlines() if not line.startswith(b"untrusted comment:")]
    try:
        key = base64.b64decode(b"".join(lines).strip(), validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error
    if len(key) != 2 + _ID_BYTES + _KEY_BYTES or not key.startswith(b"Ed"):
        raise ValueError("it has another format")
    public = Ed25519PublicKey.from_public_bytes(key[2 + _ID_BYTES :])
    return MinisignKey(key[2 : 2 + _ID_BYTES], public)


def _invalid(name: str, reason: str) -> RepositoryUntrustedError:
    return RepositoryUntrustedError(f"the signature of {name} is not valid: {reason}")
