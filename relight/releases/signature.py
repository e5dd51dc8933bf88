"""Whether a repository's index was signed by the one key that may sign it.

gpgv judges, with that key alone: no user's keyring takes part. What counts afterwards is the text
that gpgv hands back, not the bytes that came over the network: what stood around the signed part
is gone from it. Raises `RepositoryUntrustedError`, and `RepositoryError` where it cannot judge.
"""

import asyncio
import base64
import binascii
import re
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from relight.releases.errors import RepositoryError, RepositoryUntrustedError

PATIENCE = timedelta(seconds=30)

_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_ARMOURED_KEY = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)
# gpgv's own words for it; the last argument of each names the key.
_BAD = {
    "BADSIG": "the signature by {} does not fit the text",
    "NO_PUBKEY": "it is signed by another key: {}",
    "EXPKEYSIG": "the key {} has expired",
    "REVKEYSIG": "the key {} was revoked",
    "EXPSIG": "the signature by {} has expired",
}


def read_keyring(path: Path) -> bytes:
    """Return the public key in a file, armoured or binary, as the keyring that gpgv reads.

    Raises:
        RepositoryError: the file cannot be read, or holds no public key.
    """
    try:
        return keyring(path.read_bytes())
    except OSError as error:
        raise RepositoryError(f"the repository's signing key cannot be read: {error}") from error
    except ValueError as error:
        raise RepositoryError(f"{path} holds no public key of a repository: {error}") from error


def keyring(key: bytes) -> bytes:
    """Return a public key, armoured or binary, in binary.

    Raises:
        ValueError: it is neither.
    """
    blocks = _ARMOURED_KEY.findall(key)
    if blocks:
        return b"".join(_dearmoured(block) for block in blocks)
    if not key or key[0] & 0x80 == 0:  # OpenPGP: the first bit of every packet is set
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
    """Return the text of a clear-signed file, once gpgv vouches for it.

    Raises:
        RepositoryUntrustedError: nobody signed it, or somebody else, or it was changed.
        RepositoryError: gpgv is not there, or does not end.
    """
    # Two signed messages in one file, or a bare one before it, are for nobody to tell apart.
    if not signed.startswith(_BEGIN) or signed.count(_BEGIN) != 1:
        raise RepositoryUntrustedError("what it answers is no signed index")
    with TemporaryDirectory(prefix="relight-gpgv-") as folder:
        place = Path(folder)
        await asyncio.to_thread((place / "keyring.gpg").write_bytes, keyring)
        status, said = await _gpgv(place, signed)
        _judge(status, said)
        text = await asyncio.to_thread((place / "text").read_bytes)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RepositoryError(f"its signed index is not UTF-8: {error}") from error


async def _gpgv(place: Path, signed: bytes) -> tuple[str, str]:
    """Return what gpgv tells machines, and what it tells people."""
    argv = [
        *("gpgv", "--homedir", str(place), "--keyring", str(place / "keyring.gpg")),
        *("--weak-digest", "SHA1", "--status-fd", "1", "--output", str(place / "text"), "-"),
    ]
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
    except FileNotFoundError as error:
        raise RepositoryError("gpgv, which checks a repository's signature, is missing") from error
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            status, said = await process.communicate(signed)
    except TimeoutError as error:
        raise RepositoryError(f"gpgv did not end in {PATIENCE.seconds} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return status.decode(errors="replace"), said.decode(errors="replace")


def _judge(status: str, said: str) -> None:
    """Ask for a good signature, no bad one, and one text that they are about.

    While a repository changes its key it is signed by both, and the other one is unknown here:
    that is no harm, though gpgv's exit code says so.
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
    raise RepositoryUntrustedError(f"its signature is not valid: {' '.join(said.split())}")
