"""The HTTP signature of Oracle Cloud Infrastructure: RSA-SHA256 over some headers of a request.

Its format is that of HTTP Signatures (Cavage), with OCI's `version="1"`. GET and DELETE sign the
date, the request line and the host; POST, PUT and PATCH also sign length, type and digest of the
body.
"""

import base64
import hashlib
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relight.providers.locations import SecretFileError, read_secret

_SIGNED = ("date", "(request-target)", "host")
_SIGNED_OF_BODY = ("content-length", "content-type", "x-content-sha256")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class OciSignature(httpx.Auth):
    """Signs each request with the API key of a user."""

    requires_request_body = True

    def __init__(
        self, key_id: str, key: RSAPrivateKey, now: Callable[[], datetime] | None = None
    ) -> None:
        """Sign nothing yet.

        Args:
            key_id: `{tenancy}/{user}/{fingerprint}`.
            key: the private key whose public key the user has uploaded.
            now: the clock; OCI refuses a date that is off by more than five minutes.
        """
        self._key_id = key_id
        self._key = key
        self._now = now or (lambda: datetime.now(UTC))

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the date, the digest of the body and the signature."""
        headers = request.headers
        headers["date"] = format_datetime(self._now(), usegmt=True)
        signed: tuple[str, ...] = _SIGNED
        if request.method in _WITH_BODY:
            signed += _SIGNED_OF_BODY
            digest = hashlib.sha256(request.content).digest()
            headers["x-content-sha256"] = base64.b64encode(digest).decode()
        target = f"{request.method.lower()} {request.url.raw_path.decode('ascii')}"
        values = {"(request-target)": target, **headers}
        text = "\n".join(f"{name}: {values[name]}" for name in signed)
        signature = base64.b64encode(self._key.sign(text.encode(), PKCS1v15(), SHA256())).decode()
        headers["authorization"] = (
            f'Signature algorithm="rsa-sha256",headers="{" ".join(signed)}",'
            f'keyId="{self._key_id}",signature="{signature}",version="1"'
        )
        yield request


def read_api_key(file: Path) -> RSAPrivateKey:
    """Return the private key of an API key's PEM file.

    Raises:
        SecretFileError: it cannot be read, or is not an RSA key without a passphrase.
    """
    content = read_secret(file).get_secret_value().encode()
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SecretFileError(f"{file} is no private key in PEM without a passphrase") from error
    if not isinstance(key, RSAPrivateKey):
        raise SecretFileError(f"{file} is no RSA key: OCI takes no other")
    return key
