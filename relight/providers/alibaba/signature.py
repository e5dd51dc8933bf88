"""Alibaba Cloud's signature of requests, ACS3-HMAC-SHA256."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import httpx
from pydantic import SecretStr

ALGORITHM: Final = "ACS3-HMAC-SHA256"


class Acs3Auth(httpx.Auth):
    """Signs each request: its host, its query, its body and every header `x-acs-*`."""

    requires_request_body = True

    def __init__(
        self,
        key_id: str,
        secret: SecretStr,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        nonce: Callable[[], str] = secrets.token_hex,
    ) -> None:
        """Sign nothing yet.

        Args:
            key_id: of the access key.
            secret: of the access key.
            now: the current time; the provider accepts 15 minutes of difference.
            nonce: returns a text that was never used: the provider refuses a second use.
        """
        self._key_id = key_id
        self._secret = secret
        self._now = now
        self._nonce = nonce

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the time, the nonce and the signature to a request."""
        request.headers["x-acs-date"] = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        request.headers["x-acs-signature-nonce"] = self._nonce()
        request.headers["x-acs-content-sha256"] = hashlib.sha256(request.content).hexdigest()
        headers = {
            name: value.strip()
            for name, value in request.headers.items()
            if name in {"host", "content-type"} or name.startswith("x-acs-")
        }
        query = request.url.params.multi_items()
        signed = signature(self._secret, request.method, request.url.path, query, headers)
        request.headers["Authorization"] = (
            f"{ALGORITHM} Credential={self._key_id},"
            f"SignedHeaders={';'.join(sorted(headers))},Signature={signed}"
        )
        yield request


def signature(
    secret: SecretStr,
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
) -> str:
    """Return the signature of a request, in hexadecimal digits.

    Args:
        secret: of the access key.
        method: of HTTP.
        path: of the URL, encoded.
        query: the parameters, not encoded.
        headers: those that are signed, by name in lower case; `x-acs-content-sha256` is one.
    """
    names = sorted(headers)
    canonical = "\n".join(
        [
            method,
            path,
            "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(query)),
            *(f"{name}:{headers[name]}" for name in names),
            "",
            ";".join(names),
            headers["x-acs-content-sha256"],
        ]
    )
    text = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = secret.get_secret_value().encode()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _encoded(text: str) -> str:
    return quote(text, safe="~")
