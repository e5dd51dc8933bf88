"""Encryption of what Temporal stores: inputs, results, faults, signals, updates, summaries.

Each payload is sealed with AES-256-GCM under a random nonce, and names its key in its metadata. A
key's name is derived from the key, so nobody can confuse two. Payloads without encryption are read
as they are: workflows that run while encryption is switched on continue.
"""

import dataclasses
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.converter import DataConverter, PayloadCodec

from relight.domain.error_words import error_words
from relight.engine.converter import DATA_CONVERTER, EncodedFailureConverter
from relight.engine.errors import PayloadKeyError
from relight.setting_groups import SettingsError
from relight.temporal_settings import TemporalSettings

SETTING = "RELIGHT_TEMPORAL__PAYLOAD_KEYS"
ENCODING = b"binary/encrypted"
KEY_BYTES = 32

_ENCODING, _KEY_NAME = "encoding", "relight-key"
_NONCE_BYTES = 12


@dataclass(frozen=True)
class PayloadKey:
    """A key.

    Attributes:
        secret: 32 bytes.
    """

    secret: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What payloads call it; tells nothing about the key."""
        return hashlib.sha256(b"relight payload key/" + self.secret).hexdigest()[:16]


@dataclass(frozen=True)
class EncryptionCodec(PayloadCodec):
    """Encrypts payloads with the first key, and decrypts them with the one that they name.

    Attributes:
        keys: at least one.
        encrypts: whether it encrypts; it decrypts in any case.
    """

    keys: tuple[PayloadKey, ...]
    encrypts: bool = True

    @classmethod
    def load(cls, file: Path, *, encrypts: bool = True) -> Self:
        """Read the keys from a file.

        Raises:
            SettingsError: the file cannot be read, or has a line that is no key.
        """
        try:
            lines = file.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{SETTING}: {file} cannot be read: {error_words(error)}"
            ) from error
        keys = []
        for number, line in enumerate(map(str.strip, lines), start=1):
            if not line or line.startswith("#"):
                continue
            try:
                secret = bytes.fromhex(line)
            except ValueError:
                secret = b""
            if len(secret) != KEY_BYTES:
                # Not the line itself: it may be most of a key.
                raise SettingsError(
                    f"{SETTING}: line {number} of {file} is not {2 * KEY_BYTES} hexadecimal digits"
                )
            keys.append(PayloadKey(secret))
        if not keys:
            raise SettingsError(f"{SETTING}: {file} has no key")
        return cls(tuple(keys), encrypts)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt payloads."""
        return [self.encrypt(each) if self.encrypts else each for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt payloads; those that are not encrypted stay as they are.

        Raises:
            PayloadKeyError: the key is not in the file, or the payload was changed.
        """
        return [self.decrypt(each) for each in payloads]

    def encrypt(self, payload: Payload) -> Payload:
        """Return a payload that holds another one, encrypted."""
        key = self.keys[0]
        name, nonce = key.name.encode(), secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(key.secret).encrypt(nonce, payload.SerializeToString(), name)
        metadata = {_ENCODING: ENCODING, _KEY_NAME: name}
        return Payload(metadata=metadata, data=nonce + sealed)

    def decrypt(self, payload: Payload) -> Payload:
        """Return the payload that an encrypted one holds; any other as it is.

        Raises:
            PayloadKeyError: the key is not in the file, or the payload was changed.
        """
        name = key_name(payload)
        if name is None:
            return payload
        key = next((each for each in self.keys if each.name == name), None)
        if key is None:
            present = ", ".join(each.name for each in self.keys)
            raise PayloadKeyError(
                f"a payload is encrypted with the key {name}, which {SETTING} does not have"
                f" (it has {present}): add that key to its file"
            )
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            opened = AESGCM(key.secret).decrypt(nonce, sealed, name.encode())
        except (InvalidTag, ValueError) as error:
            raise PayloadKeyError(
                f"a payload of the key {name} was changed after it was encrypted"
            ) from error
        return Payload.FromString(opened)


def new_key() -> str:
    """Return a line for the file of keys."""
    return secrets.token_hex(KEY_BYTES)


def key_name(payload: Payload) -> str | None:
    """Return the name of the key that a payload is encrypted with; None if Relight did not."""
    if payload.metadata.get(_ENCODING) != ENCODING or _KEY_NAME not in payload.metadata:
        return None
    return payload.metadata[_KEY_NAME].decode(errors="replace")


def codec(temporal: TemporalSettings) -> EncryptionCodec | None:
    """Return the codec of the settings; None if they name no keys.

    Raises:
        SettingsError: the file of keys cannot be used.
    """
    if temporal.payload_keys is None:
        return None
    return EncryptionCodec.load(temporal.payload_keys, encrypts=temporal.encrypt_payloads)


def data_converter(temporal: TemporalSettings) -> DataConverter:
    """Return the data converter of the settings.

    Raises:
        SettingsError: the file of keys cannot be used.
    """
    used = codec(temporal)
    if used is None:
        return DATA_CONVERTER
    return dataclasses.replace(
        DATA_CONVERTER,
        payload_codec=used,
        # Messages and stack traces of failures as well: a fault quotes what a host wrote.
        failure_converter_class=EncodedFailureConverter,
    )


async def require_payload_key(client: Client, task_queue: str) -> None:
    """Check that the input of the task queue's newest workflow can be read.

    Without its key, everything else would be written in plain text beside it, or each workflow
    would fail at its next task.

    Raises:
        PayloadKeyError: the settings lack the key.
    """
    query = f"TaskQueue = '{task_queue}'"
    async for newest in client.list_workflows(query, limit=1, page_size=1):
        handle = client.get_workflow_handle(newest.id, run_id=newest.run_id)
        async for event in handle.fetch_history_events(page_size=1):
            assert event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
            for payload in event.workflow_execution_started_event_attributes.input.payloads:
                _require_readable(client, payload)
            return


def _require_readable(client: Client, payload: Payload) -> None:
    used = client.data_converter.payload_codec
    if isinstance(used, EncryptionCodec):
        used.decrypt(payload)
    elif (name := key_name(payload)) is not None:
        raise PayloadKeyError(
            f"the payloads in Temporal's namespace {client.namespace} are encrypted with the key"
            f" {name}, and {SETTING} is not set"
        )
