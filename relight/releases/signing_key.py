"""The one key that a repository's index must be signed by.

gpg reads the file, with a home folder of its own. Of a keyring only the key with the configured
fingerprint counts. Keys that apt's policy calls weak are refused. Raises `RepositoryError`, and
`RepositoryUntrustedError` for a key that has expired.
"""

import base64
import binascii
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from relight.domain.duration import span
from relight.domain.error_words import error_words
from relight.releases.errors import RepositoryError, RepositoryUntrustedError

GPG_TIMEOUT = timedelta(seconds=30)

_ARMOURED_KEY = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)
_RSA, _MIN_RSA_BITS = 1, 2048
_ECDSA, _EDDSA = 19, 22
"""Numbers of algorithms in OpenPGP. apt's policy admits no others."""


@dataclass(frozen=True)
class SigningKey:
    """A public key.

    Attributes:
        certificate: the key alone, in OpenPGP's binary format.
        fingerprint: of its primary key, in upper-case hexadecimal.
        expires_at: when its primary key expires; None if never.
    """

    certificate: bytes
    fingerprint: str
    expires_at: datetime | None

    def check_expiry(self, now: datetime) -> None:
        """Refuse it if it has expired.

        Raises:
            RepositoryUntrustedError: it has.
        """
        if self.expires_at is not None and self.expires_at <= now:
            raise RepositoryUntrustedError(
                f"the key {self.fingerprint} has expired at {self.expires_at:%Y-%m-%d %H:%M} UTC"
            )


@dataclass(frozen=True)
class _Part:
    """A primary key or a subkey, from a line of gpg's list."""

    primary: bool
    validity: str
    bits: int
    algorithm: int
    expires_at: datetime | None
    signs: bool
    fingerprint: str


def read_signing_key(path: Path, fingerprint: str = "") -> SigningKey:
    """Return the key in a file, armoured or binary. It blocks: gpg is called.

    Args:
        path: the file.
        fingerprint: of the key, if the file has several.

    Raises:
        RepositoryError: the file cannot be read or has no public key, or not just one and none of
            this fingerprint, or the key is weak or revoked, or gpg is not installed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"the repository's signing key cannot be read: {path}: {error_words(error)}"
        raise RepositoryError(msg) from error
    return _parse(path, content, fingerprint)


@lru_cache(maxsize=8)
def _parse(path: Path, content: bytes, fingerprint: str) -> SigningKey:
    """Parse a file's content. gpg is called once for each content."""
    try:
        content = _binary(content)
    except ValueError as error:
        raise RepositoryError(f"{path} is not a public key: {error}") from error
    with TemporaryDirectory(prefix="relight-gpg-") as name:
        folder = Path(name)
        _gpg(folder, path, "--import", stdin=content)
        parts = list(_parts(_gpg(folder, path, "--list-keys", "--with-colons").decode()))
        key = _chosen(path, [part for part in parts if part.primary], fingerprint)
        _check_strength(path, parts, key)
        certificate = _gpg(folder, path, "--export", key.fingerprint)
    return SigningKey(certificate, key.fingerprint, key.expires_at)


def _binary(key: bytes) -> bytes:
    blocks = _ARMOURED_KEY.findall(key)
    if blocks:
        return b"".join(_dearmoured(block) for block in blocks)
    if not key or key[0] & 0x80 == 0:  # in OpenPGP the first bit of every packet is set
        raise ValueError("neither an armoured nor a binary OpenPGP key")
    return key


def _dearmoured(block: bytes) -> bytes:
    lines = [line.strip() for line in block.splitlines()]
    headers_end = lines.index(b"") if b"" in lines else -1
    body = [line for line in lines[headers_end + 1 :] if not line.startswith(b"=")]
    try:
        return base64.b64decode(b"".join(body), validate=True)
    except binascii.Error as error:
        raise ValueError(f"its armour is damaged ({error})") from error


def _gpg(folder: Path, path: Path, *words: str, stdin: bytes = b"") -> bytes:
    argv = ["gpg", "--homedir", str(folder), "--no-options", "--batch", "--quiet", "--no-autostart"]
    # Our clock may be behind: what it takes for a key of the future is read all the same.
    argv += ["--trust-model", "always", "--ignore-time-conflict", "--ignore-valid-from", *words]
    try:
        ended = subprocess.run(  # noqa: S603 - gpg by argv, without a shell; the key is on stdin
            argv, input=stdin, capture_output=True, timeout=GPG_TIMEOUT.seconds, check=False
        )
    except FileNotFoundError as error:
        raise RepositoryError(
            "gpg, which reads the repository's signing key, is not installed: install the Debian "
            "package gpg"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise RepositoryError(f"gpg did not end in {span(GPG_TIMEOUT)}") from error
    if ended.returncode != 0:
        text = " ".join(ended.stderr.decode(errors="replace").split())
        raise RepositoryError(f"{path} is not a public key: {text}")
    return ended.stdout


def _parts(listed: str) -> Iterator[_Part]:
    """Parse gpg's list: a line `pub` or `sub` for each key, and a line `fpr` after it."""
    described: Sequence[str] = ()
    for line in listed.splitlines():
        fields = line.split(":")
        if fields[0] in {"pub", "sub"}:
            described = fields
        elif fields[0] == "fpr" and described:
            yield _Part(
                primary=described[0] == "pub",
                validity=described[1],
                bits=int(described[2]),
                algorithm=int(described[3]),
                expires_at=datetime.fromtimestamp(int(described[6]), UTC) if described[6] else None,
                signs="s" in described[11],
                fingerprint=fields[9],
            )
            described = ()


def _chosen(path: Path, keys: Sequence[_Part], fingerprint: str) -> _Part:
    """Return the key of this fingerprint, without one the only key."""
    wanted = fingerprint.replace(" ", "").upper()
    names = ", ".join(key.fingerprint for key in keys) or "none"
    if wanted:
        found = [key for key in keys if key.fingerprint == wanted]
        if not found:
            raise RepositoryError(
                f"{path} has no key {wanted}, which RELIGHT_REPOSITORY__SIGNING_KEY_FINGERPRINT "
                f"names; its keys: {names}"
            )
        return found[0]
    if len(keys) != 1:
        raise RepositoryError(
            f"{path} has {len(keys)} keys: set RELIGHT_REPOSITORY__SIGNING_KEY_FINGERPRINT to the "
            f"one that signs the repository; its keys: {names}"
        )
    return keys[0]


def _check_strength(path: Path, parts: Sequence[_Part], key: _Part) -> None:
    """Refuse a key that is revoked, or that has a weak part that could sign."""
    if key.validity == "r":
        raise RepositoryError(f"the key {key.fingerprint} in {path} was revoked")
    start = parts.index(key)
    own = [key]
    for part in parts[start + 1 :]:
        if part.primary:
            break
        if part.signs and part.validity not in {"r", "e"}:
            own.append(part)
    for part in own:
        short = part.algorithm == _RSA and part.bits < _MIN_RSA_BITS
        if short or part.algorithm not in {_RSA, _ECDSA, _EDDSA}:
            raise RepositoryError(
                f"the key {part.fingerprint} in {path} is too weak: it is not RSA of "
                f"{_MIN_RSA_BITS} bits or more, nor of an elliptic curve"
            )
