"""Checks that a repository's index was signed by the configured key.

sqv decides, Sequoia's verifier that apt itself uses in newer releases of Debian. By its policy
MD5, SHA-1, RIPEMD-160 and short keys are too weak. The text that is returned is the one that sqv
has verified, so anything outside of the signed part is dropped.

Raises `RepositoryUntrustedError`, and `RepositoryError` if the check cannot be made.
"""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from relight.domain.duration import span
from relight.releases.errors import RepositoryError, RepositoryUntrustedError
from relight.releases.signing_key import SigningKey

SQV_TIMEOUT = timedelta(seconds=30)

_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"
_END = b"-----END PGP SIGNATURE-----"
_MISSING_KEY = re.compile(r"^Missing key (\S+),", re.MULTILINE)


class _Signed(NamedTuple):
    """The two parts of a clear-signed file."""

    text: bytes
    signature: bytes


async def signed_text(signed: bytes, key: SigningKey) -> str:
    """Return the text of a clear-signed file, after sqv has verified it.

    Raises:
        RepositoryUntrustedError: it is unsigned, signed by another key or weakly, or was changed.
        RepositoryError: sqv is not installed, or does not end.
    """
    parts = _split(signed)
    with TemporaryDirectory(prefix="relight-sqv-") as name:
        folder = Path(name)
        for file, content in {
            "key": key.certificate,
            "signature": parts.signature,
            "text": parts.text,
        }.items():
            await asyncio.to_thread((folder / file).write_bytes, content)
        signers, messages = await _sqv(folder)
    if key.fingerprint not in signers:
        raise RepositoryUntrustedError(_reason(messages))
    try:
        return parts.text.decode()
    except UnicodeDecodeError as error:
        raise RepositoryError(f"its signed index is not UTF-8: {error}") from error


def _split(signed: bytes) -> _Signed:
    """Split a clear-signed file (RFC 9580, 7). Text after its signature is ignored.

    A wrong split is harmless: the signature would not match the text.

    Raises:
        RepositoryUntrustedError: it is not exactly one clear-signed text.
    """
    # A second signed message, or text before the first, would be ambiguous.
    if not signed.startswith(_BEGIN) or signed.count(_BEGIN) != 1:
        raise RepositoryUntrustedError("its answer is not a signed index")
    lines = [line.rstrip(b" \t\r") for line in signed.split(b"\n")]
    if lines.count(_SIGNATURE) != 1 or lines.count(_END) != 1 or b"" not in lines:
        raise RepositoryUntrustedError("its signature is not valid: the file is cut off or mixed")
    begin, end = lines.index(_SIGNATURE), lines.index(_END)
    text = [line.removeprefix(b"- ") for line in lines[lines.index(b"") + 1 : begin]]
    if any(b"-----BEGIN PGP" in line for line in lines[end:]):
        raise RepositoryUntrustedError("its signature is not valid: another message follows it")
    return _Signed(b"\n".join(text), b"\n".join([*lines[begin : end + 1], b""]))


async def _sqv(folder: Path) -> tuple[frozenset[str], str]:
    """Return the fingerprints of the keys whose signatures are good, and sqv's messages."""
    argv = ["sqv", "--verbose", "--keyring", *(str(folder / name) for name in _FILES)]
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    except FileNotFoundError as error:
        raise RepositoryError(
            "sqv, which verifies signatures, is not installed: install the Debian package sqv"
        ) from error
    try:
        async with asyncio.timeout(SQV_TIMEOUT.total_seconds()):
            signers, messages = await process.communicate()
    except TimeoutError as error:
        raise RepositoryError(f"sqv did not end in {span(SQV_TIMEOUT)}") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # An index is signed by both keys while a repository changes its key: one good one is enough.
    good = frozenset(signers.decode(errors="replace").split()) if process.returncode == 0 else ()
    return frozenset(good), messages.decode(errors="replace")


_FILES = ("key", "signature", "text")


def _reason(messages: str) -> str:
    if "manipulated" in messages:
        return "the signature does not match the text"
    missing = _MISSING_KEY.findall(messages)
    if missing and "because:" not in messages:
        return f"it is signed by another key: {', '.join(missing)}"
    return f"its signature is not valid: {' '.join(messages.split())}"
