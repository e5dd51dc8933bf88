"""The credentials for a Temporal server, from files that the settings name.

Each file is read and checked before it is used: an error of the connection itself names neither the
file nor the setting.
"""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import Certificate, load_pem_x509_certificates
from temporalio.envconfig import ClientConnectConfig
from temporalio.service import TLSConfig

from relight.domain.error_words import error_words
from relight.setting_groups import SettingsError
from relight.temporal_settings import TemporalSettings

CA, CERT, KEY, SERVER_NAME, API_KEY = (
    f"RELIGHT_TEMPORAL__{name}"
    for name in ("TLS_CA", "TLS_CERT", "TLS_KEY", "TLS_SERVER_NAME", "API_KEY_FILE")
)

_CLOSED = f"the server closed it; it may want a client certificate: {CERT} and {KEY}"

_ENDS = ('"connection closed"', "broken pipe", "onnection reset")
"""A refused handshake is told in one of these ways, by which side is faster."""

_REFUSALS = (
    ("UnknownIssuer", f"the server's certificate is signed by none of the authorities in {CA}"),
    ("NotValidForName", f"the server's certificate has another name: {SERVER_NAME} sets it"),
    ("certificate expired", "the server's certificate has expired"),
    ("CertificateRequired", f"the server wants a client certificate: {CERT} and {KEY} set it"),
    ("HandshakeFailure", f"the server wants a client certificate: {CERT} and {KEY} set it"),
    ("UnknownCA", f"the server does not trust the client certificate of {CERT}"),
    ("BadCertificate", f"the server does not accept the client certificate of {CERT}"),
    ("DecryptError", f"the server does not accept the client certificate of {CERT}"),
    ("unexpected-eof", _CLOSED),
    ("InvalidContentType", f"the server speaks no TLS: unset {CA}, {CERT} and {API_KEY}"),
    ("Unauthenticated", f"the server refuses the credentials: {API_KEY}, or {CERT} and {KEY}"),
    ("PermissionDenied", "the server does not allow that to these credentials"),
)
"""Words of an error of the SDK or its TLS library, each with its meaning."""


def with_credentials(
    config: ClientConnectConfig, temporal: TemporalSettings
) -> ClientConnectConfig:
    """Return the configuration with the credentials of the settings added.

    Raises:
        SettingsError: a file cannot be used; the text names its setting.
    """
    added: ClientConnectConfig = {**config}
    if temporal.api_key_file is not None:
        added["api_key"] = _api_key(temporal.api_key_file)
        # An API key that is sent in plain text belongs to whoever listens.
        added["tls"] = config.get("tls") or True
    if temporal.tls_ca or temporal.tls_cert or temporal.tls_key or temporal.tls_server_name:
        added["tls"] = _tls(temporal, config.get("tls"))
    return added


def refusal(error: str, *, tls: bool) -> str | None:
    """Return what an error of the connection says about the credentials; None if nothing.

    Args:
        error: its text.
        tls: whether the connection was one of TLS.
    """
    meaning = next((meaning for word, meaning in _REFUSALS if word in error), None)
    return meaning or (_CLOSED if tls and any(each in error for each in _ENDS) else None)


def _tls(temporal: TemporalSettings, sdk: object) -> TLSConfig:
    before = sdk if isinstance(sdk, TLSConfig) else TLSConfig()
    cert, key = before.client_cert, before.client_private_key
    if temporal.tls_cert or temporal.tls_key:
        cert, key = _client_certificate(temporal.tls_cert, temporal.tls_key)
    authority = before.server_root_ca_cert
    if temporal.tls_ca is not None:
        authority = _read(temporal.tls_ca, CA)
        _certificates(authority, temporal.tls_ca, CA)
    return TLSConfig(
        server_root_ca_cert=authority,
        domain=temporal.tls_server_name or before.domain,
        client_cert=cert,
        client_private_key=key,
    )


def _client_certificate(cert_file: Path | None, key_file: Path | None) -> tuple[bytes, bytes]:
    if cert_file is None or key_file is None:
        missing, present = (CERT, KEY) if cert_file is None else (KEY, CERT)
        raise SettingsError(f"{missing} is not set, and {present} is")
    cert, key = _read(cert_file, CERT), _read(key_file, KEY)
    first = _certificates(cert, cert_file, CERT)[0]
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{KEY}: {key_file} has no usable private key: {error}") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != first.public_key().public_bytes(*form):
        raise SettingsError(
            f"{KEY}: {key_file} is not the key of the certificate in {cert_file} ({CERT})"
        )
    ends = first.not_valid_after_utc
    if ends < datetime.now(UTC):
        raise SettingsError(f"{CERT}: the certificate in {cert_file} has expired ({ends:%Y-%m-%d})")
    return cert, key


def _certificates(content: bytes, file: Path, setting: str) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(content)
    except ValueError as error:
        raise SettingsError(f"{setting}: {file} has no PEM certificate: {error}") from error


def _api_key(file: Path) -> str:
    try:
        key = _read(file, API_KEY).decode("ascii").strip()
    except UnicodeDecodeError:
        key = ""
    if not key or not key.isprintable() or " " in key:
        # Not the content: it may be most of a key.
        raise SettingsError(f"{API_KEY}: {file} does not hold one line with an API key")
    return key


def _read(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting}: {file} cannot be read: {error_words(error)}") from error
