"""Encryption of payloads: what is sealed, by which key, and what an error says."""

import asyncio
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload

from relight.engine.encryption import (
    EncryptionCodec,
    PayloadKey,
    data_converter,
    key_name,
    new_key,
)
from relight.engine.errors import PayloadKeyError
from relight.setting_groups import SettingsError
from relight.temporal_settings import TemporalSettings

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"the reason"')


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "payload-keys"


def test_an_encrypted_payload_shows_nothing_and_comes_back_whole(keys: Path) -> None:
    keys.write_text(f"{new_key()}\n")
    codec = EncryptionCodec.load(keys)
    first, second = codec.encrypt(PLAIN), codec.encrypt(PLAIN)
    assert b"reason" not in first.SerializeToString()
    assert b"json/plain" not in first.SerializeToString()
    assert first.data != second.data
    assert [codec.decrypt(first), codec.decrypt(second)] == [PLAIN, PLAIN]


def test_after_a_rotation_the_first_key_encrypts_and_the_old_one_still_decrypts(
    keys: Path,
) -> None:
    old, new = new_key(), new_key()
    keys.write_text(f"{old}\n")
    by_old = EncryptionCodec.load(keys).encrypt(PLAIN)
    keys.write_text(f"# since May\n{new}\n\n{old}\n")
    codec = EncryptionCodec.load(keys)
    by_new = codec.encrypt(PLAIN)
    assert [codec.decrypt(by_old), codec.decrypt(by_new)] == [PLAIN, PLAIN]
    assert key_name(by_new) == PayloadKey(bytes.fromhex(new)).name != key_name(by_old)


def test_a_wrong_key_is_named_and_so_is_the_right_one(keys: Path) -> None:
    keys.write_text(new_key())
    sealed = EncryptionCodec.load(keys).encrypt(PLAIN)
    other = new_key()
    keys.write_text(other)
    with pytest.raises(PayloadKeyError) as caught:
        EncryptionCodec.load(keys).decrypt(sealed)
    assert str(key_name(sealed)) in str(caught.value)
    assert PayloadKey(bytes.fromhex(other)).name in str(caught.value)
    assert "RELIGHT_TEMPORAL__PAYLOAD_KEYS" in str(caught.value)
    assert other not in str(caught.value)


@pytest.mark.parametrize("change", ["byte", "short", "empty", "key's name"])
def test_a_payload_that_was_changed_is_refused(keys: Path, change: str) -> None:
    one, two = new_key(), new_key()
    keys.write_text(f"{one}\n{two}\n")
    codec = EncryptionCodec.load(keys)
    sealed = codec.encrypt(PLAIN)
    match change:
        case "byte":
            sealed.data = sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])
        case "short":
            sealed.data = sealed.data[:20]
        case "empty":
            sealed.data = b""
        case _:
            sealed.metadata["relight-key"] = PayloadKey(bytes.fromhex(two)).name.encode()
    with pytest.raises(PayloadKeyError, match="was changed"):
        codec.decrypt(sealed)


def test_what_was_written_before_and_what_others_encrypt_stays_as_it_is(keys: Path) -> None:
    keys.write_text(new_key())
    codec = EncryptionCodec.load(keys)
    foreign = Payload(metadata={"encoding": b"binary/encrypted"}, data=b"of another codec")
    assert [codec.decrypt(PLAIN), codec.decrypt(foreign)] == [PLAIN, foreign]


def test_the_way_back_only_decrypts(keys: Path) -> None:
    keys.write_text(new_key())
    sealed = EncryptionCodec.load(keys).encrypt(PLAIN)
    back = data_converter(TemporalSettings(payload_keys=keys, encrypt_payloads=False))
    assert back.payload_codec is not None
    assert asyncio.run(back.payload_codec.encode([PLAIN])) == [PLAIN]
    assert asyncio.run(back.payload_codec.decode([sealed])) == [PLAIN]


def test_without_keys_there_is_no_codec_and_no_cost() -> None:
    assert data_converter(TemporalSettings()).payload_codec is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "has no key"),
        ("# only a comment\n", "has no key"),
        ("ab" * 31, "line 1 of .* is not 64 hexadecimal digits"),
        (f"{'ab' * 32}\n\n{'xy' * 32}\n", "line 3 of .* is not 64 hexadecimal digits"),
        ("kéy", "cannot be read"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_is_named(
    keys: Path, content: str | None, message: str
) -> None:
    if content is not None:
        keys.write_text(content)
    with pytest.raises(SettingsError, match=f"RELIGHT_TEMPORAL__PAYLOAD_KEYS: .*{message}") as bad:
        EncryptionCodec.load(keys)
    assert "xyxy" not in str(bad.value)
    assert "abab" not in str(bad.value)
