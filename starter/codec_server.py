"""The codec endpoint: decrypts payloads for the Temporal UI, which has no keys.

It listens on loopback, and answers only who has the token and calls it by a name that it knows: a
browser on this computer would otherwise be a way in for any web page (DNS rebinding). It decrypts
and does not encrypt, so nothing can be forged with it.
"""

import hmac
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from temporalio.api.common.v1 import Payloads

from relight.engine.encryption import EncryptionCodec
from relight.engine.errors import PayloadKeyError

ADDRESS = "127.0.0.1"
MAX_BODY_BYTES = 16 * 1024 * 1024
CLIENT_TIMEOUT_SECONDS = 10
"""For one read from a client, so that a silent one holds its thread no longer."""


class CodecServer(ThreadingHTTPServer):
    """Serves `POST /decode` on loopback.

    The token is the first part of the path, `/TOKEN/decode`, or a bearer token: a UI without logins
    sends no headers of its own.
    """

    daemon_threads = True

    def __init__(
        self,
        codec: EncryptionCodec,
        token: str,
        *,
        port: int,
        origins: frozenset[str],
        hosts: frozenset[str],
    ) -> None:
        """Listen.

        Args:
            codec: decrypts.
            token: what a caller must know.
            port: 0 takes any free one.
            origins: the origins whose pages may read the answers.
            hosts: further names by which it may be called, such as that of a proxy.

        Raises:
            OSError: the port is taken.
        """
        super().__init__((ADDRESS, port), _Handler)
        own = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}
        self.codec, self.token, self.origins, self.hosts = codec, token, origins, own | hosts


class _RefusedError(Exception):
    """A request is refused; the text is the answer."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: CodecServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "relight", ""
    timeout = CLIENT_TIMEOUT_SECONDS

    def do_OPTIONS(self) -> None:
        """Answer a browser that asks before it sends: it sends no token with this."""
        try:
            self._require_known_caller()
        except _RefusedError as refused:
            self._answer(refused.status, str(refused))
            return
        self._answer(HTTPStatus.NO_CONTENT)

    def do_POST(self) -> None:
        """Decrypt payloads."""
        try:
            body = self._body()
            self._require_known_caller()
            self._require_token()
            opened = self._decode(body)
        except _RefusedError as refused:
            self._answer(refused.status, str(refused))
            return
        self._answer(HTTPStatus.OK, opened, "application/json")

    def _require_known_caller(self) -> None:
        if self.headers.get_all("Host") not in [[name] for name in self.server.hosts]:
            raise _RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "no name of this endpoint")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in self.server.origins:
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, "its origin is not in RELIGHT_CODEC__UI_ORIGINS"
            )

    def _require_token(self) -> None:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        in_path = self.path.removesuffix("/decode").removeprefix("/")
        if not self.path.endswith("/decode"):
            raise _RefusedError(HTTPStatus.NOT_FOUND, "it answers to /decode only")
        if not any(
            hmac.compare_digest(given.encode(), self.server.token.encode())
            for given in (bearer, in_path)
        ):
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "there is no Content-Length")
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MAX_BODY_BYTES} bytes"
            )
        return self.rfile.read(int(length))

    def _decode(self, body: bytes) -> str:
        try:
            asked = Parse(body, Payloads())
            opened = [self.server.codec.decrypt(each) for each in asked.payloads]
        except (ParseError, UnicodeDecodeError) as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"no payloads: {error}") from error
        except PayloadKeyError as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
        return MessageToJson(Payloads(payloads=opened))

    def _answer(self, status: HTTPStatus, text: str = "", kind: str = "text/plain") -> None:
        content = text.encode()
        self.send_response(status)
        if (origin := self.headers.get("Origin")) in self.server.origins:
            self.send_header("Access-Control-Allow-Origin", str(origin))
            self.send_header("Access-Control-Allow-Methods", "POST")
            self.send_header(
                "Access-Control-Allow-Headers", "authorization,content-type,x-namespace"
            )
            # A page of a public address may call a loopback address only if that is allowed.
            self.send_header("Access-Control-Allow-Private-Network", "true")
        self.send_header("Vary", "Origin")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Type", kind)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the path contains the token."""
