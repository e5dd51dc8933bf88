"""Settings of the way to Temporal: `RELIGHT_TEMPORAL__<NAME>` and `RELIGHT_CODEC__<NAME>`."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_settings import NoDecode

from relight.setting_groups import words

UiOrigins = tuple[Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+$")], ...]
"""Origins as a browser sends them: scheme, host and port, no path."""


class TemporalSettings(BaseModel):
    """Credentials for a Temporal server of your own, and the encryption of what it stores.

    The address and the namespace are the SDK's variables. A credential that is set here overrides
    the SDK's. The server that `relight up` starts takes none, so it gets none.

    Attributes:
        tls_ca: the file with the certificates of the authority that signed the server's; by
            default the authorities of this computer.
        tls_cert: the file with the client's certificate, PEM; the chain may follow it.
        tls_key: the file with its private key, PEM without a passphrase.
        tls_server_name: the name in the server's certificate, if it is not that of the address.
        api_key_file: the file with an API key. It is sent over TLS.
        payload_keys: the file with the keys that encrypt payloads, one a line, 64 hexadecimal
            digits each (`relight codec new-key`). The first one encrypts, all decrypt.
        encrypt_payloads: `false` only decrypts: the way back from encrypted payloads.
    """

    model_config = ConfigDict(frozen=True)

    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str = ""
    api_key_file: Path | None = None
    payload_keys: Path | None = None
    encrypt_payloads: bool = True


class CodecSettings(BaseModel):
    """The codec endpoint, which decrypts payloads for the Temporal UI (`relight codec serve`).

    Attributes:
        port: where it listens, on loopback only.
        ui_origins: the origins of the Temporal UIs that may read its answers, as a JSON list:
            `["https://temporal.example"]`. By default the UI that `relight up` started.
        hosts: further names by which it may be called, as a JSON list: that of a proxy in front.
        token_file: the file with the token that a caller needs; by default one is made in the home
            folder.
    """

    model_config = ConfigDict(frozen=True)

    port: int = Field(default=8234, ge=1, le=65535)
    ui_origins: Annotated[UiOrigins, NoDecode, BeforeValidator(words)] = ()
    hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(words)] = ()
    token_file: Path | None = None
