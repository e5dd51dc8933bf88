"""A TLS front for a server that has none: certificates, and a proxy that ends TLS."""

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

T = TypeVar("T")


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, as files."""

    cert: Path
    key: Path


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._key = folder, generate_private_key(SECP256R1())
        self._name = _name(name)
        usage = x509.BasicConstraints(ca=True, path_length=None)
        self.file = folder / f"{name}.pem"
        made = self._sign(self._name, self._key, (usage, True))
        self.file.write_bytes(made.public_bytes(Encoding.PEM))

    def issue(self, name: str, lasts: timedelta = timedelta(days=1)) -> Issued:
        """Return a certificate for 127.0.0.1, a server and a client alike."""
        key = generate_private_key(SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        cert = self._sign(
            _name(name),
            key,
            (x509.SubjectAlternativeName([address, x509.DNSName(name)]), False),
            (x509.ExtendedKeyUsage(usages), False),
            lasts=lasts,
        )
        issued = Issued(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        issued.cert.write_bytes(cert.public_bytes(Encoding.PEM))
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        issued.key.write_bytes(key.private_bytes(*form))
        return issued

    def _sign(
        self,
        subject: x509.Name,
        key: EllipticCurvePrivateKey,
        *extensions: tuple[x509.ExtensionType, bool],
        lasts: timedelta = timedelta(days=1),
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + lasts)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, SHA256())


@contextlib.asynccontextmanager
async def tls_front(
    address: str, served: Issued, clients: Authority | None = None
) -> AsyncIterator[str]:
    """Forward TLS connections to a server that speaks plain text, and yield the front's address.

    Args:
        address: of the server, `host:port`.
        served: the certificate of the front.
        clients: the authority whose certificate a client must have; None asks for none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served.cert, served.key)
    context.set_alpn_protocols(["h2"])
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    host, port = address.rsplit(":", 1)
    opened: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        outer = _Tls(context, reader, writer)
        with contextlib.suppress(ssl.SSLError, OSError):
            await outer.call(outer.object.do_handshake)
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
            opened.append(inner_writer)
            await asyncio.gather(_inwards(outer, inner_writer), _outwards(inner_reader, outer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for each in opened:
            each.close()


class _Tls:
    """The server's end of a TLS connection.

    asyncio's own closes a connection whose handshake failed without sending the alert that says
    why, which every real server sends.
    """

    def __init__(
        self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def call(self, method: Callable[..., T], *args: object) -> T:
        """Call a method of the object until it needs nothing more from the network."""
        while True:
            try:
                return method(*args)
            except ssl.SSLWantReadError:
                await self._send()
                data = await self._reader.read(65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            finally:
                await self._send()

    async def _send(self) -> None:
        self._writer.write(self._outgoing.read())
        await self._writer.drain()


async def _inwards(outer: _Tls, inner: asyncio.StreamWriter) -> None:
    try:
        while data := await outer.call(outer.object.read, 65536):
            inner.write(data)
            await inner.drain()
    finally:
        inner.close()


async def _outwards(inner: asyncio.StreamReader, outer: _Tls) -> None:
    while data := await inner.read(65536):
        await outer.call(outer.object.write, data)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
