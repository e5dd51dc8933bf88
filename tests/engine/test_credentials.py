"""Credentials for a Temporal server: mutual TLS and API keys from files, and errors that help."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.service import TLSConfig

from relight.engine.connection import connect, connect_config, require_search_attributes
from relight.engine.credentials import with_credentials
from relight.engine.errors import TemporalUnreachableError
from relight.home import temporal_lock
from relight.setting_groups import SettingsError
from relight.settings import Settings
from relight.temporal_settings import TemporalSettings
from starter.local.home import try_lock, write_temporal_profile
from starter.local.temporal import EmbeddedTemporal
from tests.support.command_line import CommandLine
from tests.support.tls_front import Authority, Issued, tls_front


@pytest.fixture(autouse=True)
def no_temporal_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours", "ours")


@pytest.fixture
def client(authority: Authority) -> Issued:
    return authority.issue("worker")


@pytest.fixture
async def front(
    own_temporal: EmbeddedTemporal, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """A Temporal server that wants a client certificate of the authority."""
    async with tls_front(own_temporal.address, authority.issue("server"), authority) as address:
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        yield address


def settings(folder: Path, **temporal: object) -> Settings:
    return Settings(home=folder, temporal=TemporalSettings.model_validate(temporal))


async def test_with_certificate_key_and_authority_a_worker_gets_in(
    front: str, tmp_path: Path, authority: Authority, client: Issued
) -> None:
    connected = await connect(
        settings(tmp_path, tls_ca=authority.file, tls_cert=client.cert, tls_key=client.key)
    )
    await require_search_attributes(connected)


async def test_the_settings_are_variables_and_every_command_uses_them(
    front: str, tmp_path: Path, authority: Authority, client: Issued
) -> None:
    files = {
        "RELIGHT_TEMPORAL__TLS_CA": str(authority.file),
        "RELIGHT_TEMPORAL__TLS_CERT": str(client.cert),
        "RELIGHT_TEMPORAL__TLS_KEY": str(client.key),
        "TEMPORAL_ADDRESS": front,
    }
    relight = CommandLine(tmp_path / "home", files)
    for words in (("init", "--adopt-temporal"), ("schedule", "list")):
        ended = await relight(*words)
        assert ended.code == 0, ended.err


async def test_without_a_client_certificate_the_error_names_its_settings(
    front: str, tmp_path: Path, authority: Authority
) -> None:
    with pytest.raises(TemporalUnreachableError) as caught:
        await connect(settings(tmp_path, tls_ca=authority.file))
    assert "RELIGHT_TEMPORAL__TLS_CERT and RELIGHT_TEMPORAL__TLS_KEY" in str(caught.value)
    assert "relight up" not in str(caught.value)


async def test_a_client_certificate_of_another_authority_is_named(
    front: str, tmp_path: Path, authority: Authority
) -> None:
    foreign = Authority(tmp_path / "other", "other").issue("stranger")
    with pytest.raises(TemporalUnreachableError, match="RELIGHT_TEMPORAL__TLS_CERT"):
        await connect(
            settings(tmp_path, tls_ca=authority.file, tls_cert=foreign.cert, tls_key=foreign.key)
        )


async def test_a_server_of_another_authority_is_refused_and_the_setting_named(
    front: str, tmp_path: Path, client: Issued
) -> None:
    other = Authority(tmp_path / "other", "other")
    with pytest.raises(TemporalUnreachableError, match="RELIGHT_TEMPORAL__TLS_CA"):
        await connect(
            settings(tmp_path, tls_ca=other.file, tls_cert=client.cert, tls_key=client.key)
        )


async def test_a_server_of_another_name_is_refused_and_the_setting_named(
    front: str, tmp_path: Path, authority: Authority, client: Issued
) -> None:
    files = {"tls_ca": authority.file, "tls_cert": client.cert, "tls_key": client.key}
    with pytest.raises(TemporalUnreachableError, match="RELIGHT_TEMPORAL__TLS_SERVER_NAME"):
        await connect(settings(tmp_path, **files, tls_server_name="elsewhere.example"))
    await connect(settings(tmp_path, **files, tls_server_name="server"))


async def test_a_server_without_tls_is_named_as_such(
    temporal: EmbeddedTemporal,
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    with pytest.raises(TemporalUnreachableError, match="speaks no TLS"):
        await connect(settings(tmp_path, tls_ca=authority.file))


async def test_the_server_of_relight_up_gets_no_credentials(
    temporal: EmbeddedTemporal, tmp_path: Path, authority: Authority
) -> None:
    write_temporal_profile(tmp_path / "temporal.toml", temporal.address, "default")
    key = tmp_path / "api-key"
    key.write_text("secret-of-another-server\n")
    used = settings(tmp_path, tls_ca=authority.file, api_key_file=key)
    with temporal_lock(tmp_path).open("w") as lock:  # As the home folder's own server holds it.
        assert try_lock(lock)
        connected = await connect(used)
    assert connected.api_key is None


async def test_an_api_key_comes_from_its_file_and_goes_over_tls_only(
    temporal: EmbeddedTemporal,
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = tmp_path / "api-key"
    key.write_text("a.b.c\n")
    alone = with_credentials(
        {"target_host": "temporal.example:7233"}, TemporalSettings(api_key_file=key)
    )
    assert (alone["api_key"], alone["tls"]) == ("a.b.c", True)
    async with tls_front(temporal.address, authority.issue("server")) as address:
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        connected = await connect(settings(tmp_path, tls_ca=authority.file, api_key_file=key))
        assert connected.api_key == "a.b.c"


async def test_a_refused_api_key_is_named(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "api-key"
    key.write_text("wrong\n")
    async with (
        await asyncio.start_server(refuse_every_call, "127.0.0.1", 0) as inner,
        tls_front(
            f"127.0.0.1:{inner.sockets[0].getsockname()[1]}", authority.issue("server")
        ) as address,
    ):
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        with pytest.raises(TemporalUnreachableError, match="RELIGHT_TEMPORAL__API_KEY_FILE"):
            await connect(settings(tmp_path, tls_ca=authority.file, api_key_file=key))


def test_a_setting_overrides_the_sdks_and_leaves_its_others(
    tmp_path: Path, authority: Authority, client: Issued
) -> None:
    sdk = TLSConfig(domain="sdk.example", client_cert=b"sdk", client_private_key=b"sdk")
    merged = with_credentials({"tls": sdk}, TemporalSettings(tls_ca=authority.file))["tls"]
    assert isinstance(merged, TLSConfig)
    assert merged.domain == "sdk.example"
    assert merged.client_cert == b"sdk"
    assert merged.server_root_ca_cert == authority.file.read_bytes()


def test_each_file_that_cannot_be_used_is_named_with_its_setting(
    tmp_path: Path, authority: Authority, client: Issued
) -> None:
    nowhere, garbage = tmp_path / "nowhere", tmp_path / "garbage"
    garbage.write_text("no certificate, no key\n")
    other = authority.issue("other")
    expired = authority.issue("expired", timedelta(days=-1))
    cases: dict[str, tuple[dict[str, Path], str]] = {
        "ca absent": ({"tls_ca": nowhere}, r"TLS_CA: .*/nowhere cannot be read"),
        "ca garbage": ({"tls_ca": garbage}, r"TLS_CA: .*/garbage has no PEM certificate"),
        "no key": ({"tls_cert": client.cert}, r"TLS_KEY is not set, and .*TLS_CERT is"),
        "no cert": ({"tls_key": client.key}, r"TLS_CERT is not set, and .*TLS_KEY is"),
        "key garbage": (
            {"tls_cert": client.cert, "tls_key": garbage},
            r"TLS_KEY: .*/garbage has no usable private key",
        ),
        "swapped": (
            {"tls_cert": client.key, "tls_key": client.cert},
            r"TLS_CERT: .* has no PEM certificate",
        ),
        "mixed": (
            {"tls_cert": client.cert, "tls_key": other.key},
            r"TLS_KEY: .*/other.key is not the key of the certificate in .*/worker.crt",
        ),
        "expired": (
            {"tls_cert": expired.cert, "tls_key": expired.key},
            r"TLS_CERT: the certificate in .*/expired.crt has expired",
        ),
        "api key absent": ({"api_key_file": nowhere}, r"API_KEY_FILE: .*/nowhere cannot be read"),
        "api key of two lines": ({"api_key_file": client.key}, r"API_KEY_FILE: .* one line"),
    }
    for name, (temporal, message) in cases.items():
        with pytest.raises(SettingsError, match=message) as caught:
            with_credentials({}, TemporalSettings.model_validate(temporal))
        assert "PRIVATE KEY" not in str(caught.value), name


async def test_a_file_of_the_sdks_own_variable_that_is_absent_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(TemporalUnreachableError, match="nowhere"):
        connect_config(settings(tmp_path))


async def refuse_every_call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A gRPC server that answers the first call with `Unauthenticated`, in HTTP/2 frames."""

    def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
        return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    headers, settings_, end = 1, 4, 4 | 1
    await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    writer.write(frame(settings_, 0, 0))
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3]))
        if head[3] == settings_ and not head[4]:
            writer.write(frame(settings_, 1, 0))
        elif head[3] == headers:
            status = b"\x88" + literal(b"content-type", b"application/grpc")
            refused = literal(b"grpc-status", b"16") + literal(b"grpc-message", b"bad-key")
            stream = int.from_bytes(head[5:])
            writer.write(frame(headers, end, stream, status + refused))
