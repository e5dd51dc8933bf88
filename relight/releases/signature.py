"""Checks that a repository's index was signed by the configured key.

gpgv decides, with that key only and no user's keyring. The result is the text that gpgv returns,
not the bytes from the network, so anything outside the signed part is dropped. Raises
`RepositoryUntrustedError`, and `RepositoryError` if the check cannot be made.
"""

import asyncio
import base64
import binascii
import re
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from relight.releases.errors import RepositoryError, RepositoryUntrustedError

GPGV_TIMEOUT = timedelta(seconds=30)

_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_ARMOURED_KEY = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)
# Status keywords of gpgv; the argument of each is the key.
_BAD = {
    "BADSIG": "the signature by {} does not match the text",
    "NO_PUBKEY": "it is signed by another key: {}",
    "EXPKEYSIG": "the key {} has expired",
    "REVKEYSIG": "the key {} was revoked",
    "EXPSIG": "the signature by {} has expired",
}


def read_keyring(path: Path) -> bytes:
    """Return the public key in a file, armoured or binary, as a keyring for gpgv.

    Raises:
        RepositoryError: the file cannot be read, or has no public key.
    """
    try:
        return keyring(path.read_bytes())
    except OSError as error:
        raise RepositoryError(f"the repository's signing key cannot be read: {error}") from error
    except ValueError as error:
        raise RepositoryError(f"{path} is not a public key: {error}") from error


def keyring(key: bytes) -> bytes:
    """Convert a public key, armoured or binary, to binary.

    Raises:
        ValueError: it is neither.
    """
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


async def signed_text(signed: bytes, keyring: bytes) -> str:
    """Return the text of a clear-signed file, after gpgv has verified it.

    Raises:
        RepositoryUntrustedError: it is unsigned, signed by another key, or was changed.
        RepositoryError: gpgv is not installed, or does not end.
    """
    # A second signed message, or text before the first, would be ambiguous.
    if not signed.startswith(_BEGIN) or signed.count(_BEGIN) != 1:
        raise RepositoryUntrustedError("its answer is not a signed index")
    with TemporaryDirectory(prefix="relight-gpgv-") as name:
        folder = Path(name)
        await asyncio.to_thread((folder / "keyring.gpg").write_bytes, keyring)
        status, messages = await _gpgv(folder, signed)
        _check_status(status, messages)
        text = await asyncio.to_thread((folder / "text").read_bytes)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RepositoryError(f"its signed index is not UTF-8: {error}") from error


async def _gpgv(folder: Path, signed: bytes) -> tuple[str, str]:
    """Return gpgv's machine-readable status lines, and its messages."""
    argv = [
        *("gpgv", "--homedir", str(folder), "--keyring", str(folder / "keyring.gpg")),
        *("--weak-digest", "SHA1", "--status-fd", "1", "--output", str(folder / "text"), "-"),
    ]
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
    except FileNotFoundError as error:
        raise RepositoryError("gpgv, which verifies signatures, is not installed") from error
    try:
        async with asyncio.timeout(GPGV_TIMEOUT.total_seconds()):
            status, messages = await process.communicate(signed)
    except TimeoutError as error:
        raise RepositoryError(f"gpgv did not end in {GPGV_TIMEOUT.seconds} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return status.decode(errors="replace"), messages.decode(errors="replace")


def _check_status(status: str, messages: str) -> None:
    """Require a good signature, no bad one, and exactly one text.

    gpgv's exit code is ignored: while a repository changes its key, its index is signed by both
    keys. Then gpgv fails for the unknown key, but the signature by the known one is sufficient.

    Raises:
        RepositoryUntrustedError: one of these is not given.
    """
    lines = [line.split(" ") for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    verdicts = {words[1]: words[2] for words in lines if len(words) > 2}
    texts = sum(words[1] == "PLAINTEXT" for words in lines)
    good = {"GOODSIG", "VALIDSIG"} <= verdicts.keys()
    if good and texts == 1 and verdicts.keys().isdisjoint({"BADSIG", "ERROR", "NODATA"}):
        return
    for verdict, text in _BAD.items():
        if verdict in verdicts:
            raise RepositoryUntrustedError(text.format(verdicts[verdict]))
    raise RepositoryUntrustedError(f"its signature is not valid: {' '.join(messages.split())}")
